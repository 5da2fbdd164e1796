from __future__ import annotations

from typing import Any

import pytest

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.ranking import RankingAdapter
from gateway.engine.ladder import StageLate, StageUnavailable
from gateway.engine.person import HistoryColumns, Person
from gateway.engine.request import RecommendRequest
from gateway.engine.stages import Ranked
from tests.unit.gateway.adapters.stages import serving
from twostage.errors import DeadlineSpent
from twostage.features.context import Context
from twostage.features.diversity import Cap, Diversity
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
        return RankingAdapter(replicas).rank(
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
