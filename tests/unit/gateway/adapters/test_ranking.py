from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.ranking import RankingAdapter
from gateway.engine.ladder import StageLate, StageUnavailable, StageWithoutGeneration
from gateway.engine.person import HistoryColumns, Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation
from gateway.engine.stage_times import StageTimes
from gateway.engine.stages import Ranked
from tests.unit.gateway.adapters.stages import serving
from twostage.errors import DeadlineSpent, GenerationNotLoaded, InvalidField
from twostage.features.context import Context
from twostage.features.diversity import Cap, Diversity
from twostage.rpc.calls import Calls
from twostage.rpc.channels import Replicas
from twostage.v1 import common_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2

CANDIDATES = CandidateMessage(
    retrieval_pb2.CandidateColumns(rows=[5, 3, 8], scores=[0.5, 0.25, -1.0], sources=[1, 6, 2])
)


def response(**changed: Any) -> ranking_pb2.RankResponse:
    item = ranking_pb2.RankedItem(
        row=3,
        item_id="i3",
        title="Three",
        score=0.75,
        action_scores=[0.5, 0.25],
        attributes={"tags": "x"},
        candidate_index=1,
        ranking_rank=2,
        reasons=["because"],
    )
    whole = {
        "generation": 7,
        "items": [item],
        "actions": ["liked", "rated"],
        "timings": [
            common_pb2.Timing(stage="ranking", compute_ms=2.0),
            common_pb2.Timing(stage="model_server", compute_ms=1.0, transport_ms=0.5),
        ],
    }
    return ranking_pb2.RankResponse(**{**whole, **changed})


def ask(address: str, request: RecommendRequest | None = None, person: Person | None = None) -> Ranked:
    with Replicas(address, ranking_pb2_grpc.RankingServiceStub) as replicas:
        return RankingAdapter(Calls(replicas)).rank(
            request or RecommendRequest(), person or Person(), CANDIDATES, generation=7, timeout_seconds=5.0
        )


def test_the_question_carries_the_candidates_as_retrieval_gave_them() -> None:
    request = RecommendRequest(
        count=9,
        context=Context("home", "phone", "de", 1234, {"k": "v"}),
        diversity=Diversity(0.5, (Cap("tags", 2),)),
        attributes=["tags"],
        explain=True,
        trace=True,
    )
    person = Person(HistoryColumns([1], ["rated"], [5.0], [10]), [1])
    with serving(lambda _request, _context: response()) as (stages, address):
        ask(address, request, person)
    received = stages.request
    assert received.candidates == CANDIDATES.message
    assert (received.generation, received.count, received.explain, received.trace) == (7, 9, True, True)
    assert (received.context.surface, received.context.device, received.context.locale) == ("home", "phone", "de")
    assert (received.context.time.seconds, dict(received.context.attributes)) == (1234, {"k": "v"})
    assert list(received.attributes) == ["tags"]
    assert received.selection.diversity.strength == 0.5
    assert [(cap.attribute, cap.max_count) for cap in received.selection.diversity.caps] == [("tags", 2)]
    assert list(received.history.rows) == [1]


def test_ranker_blend_pins_and_weights_are_sent_when_they_are_asked_for() -> None:
    request = RecommendRequest(ranker="deepfm", blend={"liked": 2.0, "rated": 0.0}, explain=True)
    with serving(lambda _request, _context: response(ranker="deepfm")) as (stages, address):
        with Replicas(address, ranking_pb2_grpc.RankingServiceStub) as replicas:
            ranked = RankingAdapter(Calls(replicas)).rank(
                request,
                Person(HistoryColumns([1, 4])),
                CANDIDATES,
                generation=7,
                timeout_seconds=5.0,
                history_weights=[0.25, 0.75],
                pinned_rows=(8, 5),
            )
        received = stages.request
        assert (received.ranker, dict(received.blend)) == ("deepfm", {"liked": 2.0, "rated": 0.0})
        assert list(received.selection.pinned_rows) == [8, 5]
        assert list(received.history_weights) == [0.25, 0.75]
        assert ranked.ranker == "deepfm"
        ask(address)
        assert not stages.request.HasField("selection")
        assert (stages.request.ranker, len(stages.request.blend), len(stages.request.history_weights)) == ("", 0, 0)


def test_explanations_are_read_when_they_are_asked_for() -> None:
    explained = response()
    explained.items[0].explanations.add(
        item_id="i1", title="One", attention=0.5, similarity=0.25, retrieval_part=0.125, ranking_effect=-2.0
    )
    with serving(lambda _request, _context: explained) as (_, address):
        (item,) = ask(address, RecommendRequest(explain=True)).items
        assert item.explanations == [Explanation("i1", "One", 0.5, 0.25, 0.125, -2.0)]
        (item,) = ask(address).items
        assert not item.explanations


def test_an_answer_of_another_ranker_is_not_used() -> None:
    with serving(lambda _request, _context: response(ranker="content")) as (stages, address):
        with pytest.raises(StageUnavailable, match="expected an answer of ranker din, received one of content"):
            ask(address, RecommendRequest(ranker="din"))
        stages.answer = lambda _request, _context: response()
        with pytest.raises(StageUnavailable, match="expected an answer of ranker din, received one of no name"):
            ask(address, RecommendRequest(ranker="din"))


@pytest.mark.parametrize(
    "field", ["candidates.rows[3]", "history.rows[0]", "generation", "selection.pinned_rows[1]", "history_weights"]
)
def test_what_the_gateway_made_is_no_fault_of_the_caller(field: str) -> None:
    def answer(_request: Any, _context: Any) -> Any:
        raise InvalidField(field, "something else", 1)

    with serving(answer) as (_, address), pytest.raises(StageUnavailable, match="INVALID_ARGUMENT"):
        ask(address)


def test_a_replica_that_lacks_the_generation_is_known_to_from_then_on() -> None:
    def answer(_request: Any, _context: Any) -> Any:
        raise GenerationNotLoaded(7, [6, 5])

    woken: list[str] = []
    with (
        serving(answer) as (_, address),
        Replicas(address, ranking_pb2_grpc.RankingServiceStub, on_change=lambda: woken.append("woken")) as replicas,
    ):
        woken.clear()
        adapter = RankingAdapter(Calls(replicas))
        with pytest.raises(StageWithoutGeneration, match="generation 7 is not loaded there, held: 5, 6"):
            adapter.rank(RecommendRequest(), Person(), CANDIDATES, generation=7, timeout_seconds=5.0)
        assert [replica.held for replica in replicas.all()] == [frozenset((5, 6))]
        assert woken
        # Known by now, so it is not even asked; the pipeline chooses another generation and asks again.
        with pytest.raises(StageWithoutGeneration, match="no replica holds the generation any more") as caught:
            adapter.rank(RecommendRequest(), Person(), CANDIDATES, generation=7, timeout_seconds=5.0)
        assert "no replica that holds generation 7" in caught.value.detail


def test_the_answer_is_read_whole() -> None:
    with serving(lambda _request, _context: response()) as (stages, address):
        ranked = ask(address, RecommendRequest(attributes=["tags"], explain=True))
    assert not stages.request.HasField("selection")
    (item,) = ranked.items
    assert (item.item_id, item.title, item.score, item.candidate_index, item.ranking_rank) == (
        "i3",
        "Three",
        0.75,
        1,
        2,
    )
    assert item.action_scores == {"liked": 0.5, "rated": 0.25}
    assert item.attributes == {"tags": "x"}
    assert item.reasons == ("because",)
    call, *steps = ranked.timings
    assert (call.stage, call.compute_ms) == ("ranking", 2.0), "a step named like the stage is its whole work"
    assert [(step.stage, step.compute_ms, step.transport_ms) for step in steps] == [("ranking.model_server", 1.0, 0.5)]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"generation": 6}, "expected an answer of generation 7, received 6"),
        ({"items": [ranking_pb2.RankedItem(candidate_index=3, action_scores=[0, 0])]}, "items among the candidates"),
        ({"items": [ranking_pb2.RankedItem(candidate_index=-1, action_scores=[0, 0])]}, "items among the candidates"),
        ({"actions": ["liked"]}, "one score for each of 1 actions"),
    ],
)
def test_an_answer_that_cannot_be_true_is_not_used(changed: dict[str, Any], why: str) -> None:
    with (
        serving(lambda _request, _context: response(**changed)) as (_, address),
        pytest.raises(StageUnavailable, match=why),
    ):
        ask(address)


def test_a_stage_that_ran_out_of_time_is_late() -> None:
    def answer(_request: Any, _context: Any) -> Any:
        raise DeadlineSpent("before ranking")

    with serving(answer) as (_, address), pytest.raises(StageLate, match="ranking late: no answer within 5000 ms"):
        ask(address)


def test_how_long_calls_take_is_recorded_also_when_they_are_given_up() -> None:
    def slow(_request: Any, _context: Any) -> Any:
        time.sleep(0.15)
        return response()

    times = StageTimes()
    with (
        serving(slow) as (_, address),
        Replicas(address, ranking_pb2_grpc.RankingServiceStub) as replicas,
    ):
        adapter = RankingAdapter(Calls(replicas), times)
        adapter.rank(RecommendRequest(), Person(), CANDIDATES, generation=7, timeout_seconds=5.0)
        with pytest.raises(StageLate):
            adapter.rank(RecommendRequest(), Person(), CANDIDATES, generation=7, timeout_seconds=0.05)
    # Too few to tell quantiles, so what was recorded is looked at itself.
    assert [seconds >= 0.15 for at, seconds in times.ranking._ring if at > 0] == [True]
    recorded = [call for call in times.ranking_by_count._ring if call.at > 0]
    assert [(call.candidate_count, call.answered) for call in recorded] == [(3, True), (3, False)]
    assert recorded[0].seconds >= 0.15
    assert recorded[1].seconds >= 0.05
