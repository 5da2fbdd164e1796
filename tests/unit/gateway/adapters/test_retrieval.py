from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.retrieval import RetrievalAdapter
from gateway.engine.ladder import StageFailure, StageLate, StageOverloaded, StageUnavailable, StageWithoutGeneration
from gateway.engine.person import HistoryColumns, Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, ShortfallReason
from gateway.engine.similar import SimilarRequest, SimilarRows
from gateway.engine.stages import Retrieved
from tests.unit.gateway.adapters.stages import serving
from twostage.bundle.filters import Condition, Filter
from twostage.errors import GenerationNotLoaded, InvalidField, NotReady, Overloaded, Violation
from twostage.rpc.calls import Calls
from twostage.rpc.channels import Replicas
from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc

RESPONSE = retrieval_pb2.RetrieveResponse(
    generation=7,
    candidates=retrieval_pb2.CandidateColumns(rows=[5, 3], scores=[0.5, 0.25], sources=[1, 6]),
    shortfall=common_pb2.Shortfall(missing_count=8, reason=common_pb2.SHORTFALL_REASON_EXCLUDED),
    timings=[
        common_pb2.Timing(stage="user_tower", compute_ms=0.5),
        common_pb2.Timing(stage="search", compute_ms=0.25, transport_ms=0.125),
    ],
)


def ask(
    address: str,
    request: RecommendRequest | None = None,
    person: Person | None = None,
    timeout_seconds: float = 5.0,
) -> Retrieved[CandidateMessage]:
    with Replicas(address, retrieval_pb2_grpc.RetrievalServiceStub) as replicas:
        return RetrievalAdapter(Calls(replicas)).retrieve(
            request or RecommendRequest(), person or Person(), generation=7, count=10, timeout_seconds=timeout_seconds
        )


def raising(error: Exception) -> Callable[[Any, Any], Any]:
    def answer(_request: Any, _context: Any) -> Any:
        raise error

    return answer


def test_the_question_carries_everything_retrieval_reads() -> None:
    request = RecommendRequest(
        interest_tags=["t"],
        filter=Filter((Condition("tags", ("x",), ("y",)), Condition("year", minimum=1900.0), Condition("plain"))),
    )
    person = Person(HistoryColumns([1, 2], ["rated", "to_read"], [5.0, float("nan")], [10, 0]), [1, 2, 9])
    with serving(lambda _request, _context: RESPONSE) as (stages, address):
        ask(address, request, person)
    received = stages.request
    assert (received.generation, received.count) == (7, 10)
    assert list(received.history.rows) == [1, 2]
    assert list(received.history.actions) == ["rated", "to_read"]
    assert list(received.history.times_seconds) == [10, 0]
    assert received.history.values[0] == 5.0
    assert np.isnan(received.history.values[1])
    assert list(received.exclude_rows) == [1, 2, 9]
    assert list(received.interest_tags) == ["t"]
    first, second, third = received.filter.conditions
    assert (first.attribute, list(first.any_of), list(first.none_of)) == ("tags", ["x"], ["y"])
    assert not first.HasField("range")
    assert (second.range.min, second.range.HasField("max")) == (1900.0, False)
    assert third.attribute == "plain"


def test_pins_are_asked_for_by_id() -> None:
    with serving(lambda _request, _context: RESPONSE) as (stages, address):
        ask(address, RecommendRequest(pinned_item_ids=["a", "b"]))
        assert list(stages.request.include_item_ids) == ["a", "b"]
        ask(address)
        assert not stages.request.include_item_ids


@pytest.mark.parametrize(
    ("rows", "weights", "expected"),
    [
        ([4, 2, 4], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]),
        # Entries that retrieval leaves out carry nothing.
        ([4, 4], [0.5, 0.5], [0.5, 0.0, 0.5]),
        ([2], [1.0], [0.0, 1.0, 0.0]),
        # What is not told or cannot be matched is not guessed.
        ([4, 2, 4], [], []),
        ([], [], []),
        ([4, 2, 4], [0.5, 0.5], []),
        ([2, 2], [0.5, 0.5], []),
        ([9], [1.0], []),
    ],
)
def test_weights_of_the_history_are_matched_with_what_was_sent(
    rows: list[int], weights: list[float], expected: list[float]
) -> None:
    answer = retrieval_pb2.RetrieveResponse()
    answer.CopyFrom(RESPONSE)
    answer.history_rows.extend(rows)
    answer.history_weights.extend(weights)
    person = Person(HistoryColumns([4, 2, 4]))
    with serving(lambda _request, _context: answer) as (stages, address):
        assert list(ask(address, RecommendRequest(explain=True), person).history_weights) == expected
        assert stages.request.return_history_weights
        assert not ask(address, person=person).history_weights
        assert not stages.request.return_history_weights


def test_the_answer_is_read_whole() -> None:
    with serving(lambda _request, _context: RESPONSE) as (_, address):
        retrieved = ask(address)
    candidates = retrieved.candidates
    assert len(candidates) == 2
    assert candidates.rows().tolist() == [5, 3]
    assert candidates.scores().tolist() == [0.5, 0.25]
    assert candidates.score(1) == 0.25
    assert [tuple(candidates.sources(index)) for index in (0, 1)] == [("user_vector",), ("popular", "interest_tags")]
    assert retrieved.shortfall == Shortfall(8, ShortfallReason.EXCLUDED)
    call, *steps = retrieved.timings
    assert (call.stage, call.compute_ms) == ("retrieval", 0.875)
    assert call.transport_ms > 0
    assert [step.stage for step in steps] == ["retrieval.user_tower", "retrieval.search"]


def test_ranks_by_source_are_asked_for_with_a_trace_alone() -> None:
    ranked = retrieval_pb2.RetrieveResponse()
    ranked.CopyFrom(RESPONSE)
    ranked.candidates.source_ranks.add(source="SOURCE_POPULAR", ranks=[0, 9])
    with serving(lambda _request, _context: ranked) as (stages, address):
        ask(address)
        assert not stages.request.return_source_ranks
        candidates = ask(address, RecommendRequest(trace=True)).candidates
        assert stages.request.return_source_ranks
    assert [dict(candidates.source_ranks(index)) for index in (0, 1)] == [{}, {"popular": 9}]


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (NotReady("loading"), StageUnavailable, "retrieval unavailable: UNAVAILABLE: not ready: loading"),
        (
            GenerationNotLoaded(7, [5, 6]),
            StageWithoutGeneration,
            "retrieval unavailable: generation 7 is not loaded there, held: 5, 6",
        ),
        (
            Overloaded(0.5),
            StageOverloaded,
            "retrieval unavailable: refuses work, it has too much",
        ),
        (ValueError("a secret of the stage"), StageUnavailable, "retrieval unavailable: INTERNAL: internal error"),
    ],
)
def test_a_stage_that_fails_is_a_failure_of_its_kind(error: Exception, kind: type[StageFailure], reason: str) -> None:
    with serving(raising(error)) as (_, address), pytest.raises(StageFailure) as caught:
        ask(address)
    assert type(caught.value) is kind
    assert caught.value.reason == reason


def test_what_the_stage_refuses_is_told_in_its_words() -> None:
    violations = [Violation("filter.conditions[0].range", "values", "a range"), Violation("count", "1 to 9", 10)]
    with serving(raising(InvalidField.several(violations))) as (_, address), pytest.raises(InvalidField) as caught:
        ask(address)
    assert caught.value.message == (
        "filter.conditions[0].range: expected values, received 'a range'; count: expected 1 to 9, received 10"
    )


def test_a_slow_stage_is_late() -> None:
    def slow(_request: Any, _context: Any) -> Any:
        time.sleep(0.3)
        return RESPONSE

    with serving(slow) as (_, address), pytest.raises(StageLate, match="retrieval late: no answer within 50 ms"):
        ask(address, timeout_seconds=0.05)


def test_nobody_at_the_address_tells_no_addresses() -> None:
    with pytest.raises(StageUnavailable) as caught:
        ask("127.0.0.1:1")
    assert caught.value.reason == "retrieval unavailable: cannot be reached"
    assert "127.0.0.1:1" in caught.value.detail


def test_no_replica_at_all_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_arguments: object, **_options: object) -> Any:
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", unresolved)
    with pytest.raises(StageUnavailable, match="retrieval unavailable: no replica was found"):
        ask("dns:///retrieval:50051")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"generation": 6}, "expected columns of one length of generation 7"),
        (
            {"candidates": retrieval_pb2.CandidateColumns(rows=[1, 2], scores=[0.5], sources=[1, 1])},
            "expected columns of one length of generation 7",
        ),
        (
            {"answered_shard": retrieval_pb2.Shard(index=1, count=3)},
            "expected an answer from all rows, received one of shard 1 of 3",
        ),
        (
            {
                "candidates": retrieval_pb2.CandidateColumns(
                    rows=[1],
                    scores=[0.5],
                    sources=[1],
                    source_ranks=[retrieval_pb2.SourceRanks(source="SOURCE_NEW", ranks=[1, 2])],
                )
            },
            "expected 1 ranks by source, received 2",
        ),
    ],
)
def test_an_answer_that_cannot_be_true_is_not_used(change: dict[str, Any], why: str) -> None:
    wrong = retrieval_pb2.RetrieveResponse(**{"generation": 7, "candidates": RESPONSE.candidates, **change})
    with (
        serving(lambda _request, _context: wrong) as (_, address),
        pytest.raises(StageUnavailable, match=why),
    ):
        ask(address)


SIMILAR = retrieval_pb2.RetrievalServiceSimilarItemsResponse(
    generation=7,
    items=retrieval_pb2.CandidateColumns(rows=[5, 3], scores=[0.5, 0.25], sources=[32, 32]),
    shortfall=common_pb2.Shortfall(missing_count=1, reason=common_pb2.SHORTFALL_REASON_EXCLUDED),
    timings=[common_pb2.Timing(stage="search", compute_ms=0.25)],
)


def ask_similar(address: str, request: SimilarRequest) -> SimilarRows:
    with Replicas(address, retrieval_pb2_grpc.RetrievalServiceStub) as replicas:
        return RetrievalAdapter(Calls(replicas)).similar_items(request, generation=7, timeout_seconds=5.0)


def test_similar_items_are_asked_for_and_read_whole() -> None:
    request = SimilarRequest("a", 3, Filter((Condition("tags", ("x",)),)), ["b"])
    with serving(lambda _request, _context: SIMILAR) as (stages, address):
        found = ask_similar(address, request)
    received = stages.request
    assert (received.generation, received.item_id, received.count) == (7, "a", 3)
    assert list(received.exclude_item_ids) == ["b"]
    assert [(c.attribute, list(c.any_of)) for c in received.filter.conditions] == [("tags", ["x"])]
    assert not received.HasField("shard")
    assert (found.rows.tolist(), found.scores.tolist()) == ([5, 3], [0.5, 0.25])
    assert found.shortfall == Shortfall(1, ShortfallReason.EXCLUDED)
    assert [timing.stage for timing in found.timings] == ["retrieval", "retrieval.search"]


def test_similar_items_that_are_not_as_many_as_asked_for_are_not_used() -> None:
    with (
        serving(lambda _request, _context: SIMILAR) as (_, address),
        pytest.raises(StageUnavailable, match="expected 4 items, found or missing, received 2 and 1 missing"),
    ):
        ask_similar(address, SimilarRequest("a", 4))
