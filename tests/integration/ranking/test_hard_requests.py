"""Requests at the edges of the contract and beyond, each followed by one that must be served."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from tests.integration.ranking.asking import failure, rank_request
from tests.integration.ranking.processes import RankingProcess
from tests.integration.ranking.reference import ITEM_COUNT, reference
from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2

_COLUMNS = retrieval_pb2.CandidateColumns
_NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"candidates": _COLUMNS(rows=[1, ITEM_COUNT], scores=[1, 1])}, "candidates.rows[1]"),
        ({"candidates": _COLUMNS(rows=[1, 2**32 - 1], scores=[1, 1])}, "candidates.rows[1]"),
        ({"candidates": _COLUMNS(rows=[0] * 2001, scores=[0] * 2001)}, "candidates.rows"),
        ({"candidates": _COLUMNS(rows=[1, 2], scores=[1])}, "candidates.scores"),
        ({"candidates": _COLUMNS(rows=[1], scores=[1, 2])}, "candidates.scores"),
        ({"candidates": _COLUMNS(rows=[], scores=[1])}, "candidates.scores"),
        ({"candidates": _COLUMNS(rows=[1, 2], scores=[1, 1], sources=[1])}, "candidates.sources"),
        ({"candidates": _COLUMNS(rows=[1, 2], scores=[1, 1], item_ids=["a"])}, "candidates.item_ids"),
        ({"candidates": _COLUMNS(rows=[1, 2], scores=[1, _NAN])}, "candidates.scores[1]"),
        ({"blend": {"bought": 1.0}}, "blend[bought]"),
        ({"blend": {"rated": 1.0, "bought": 0.0}}, "blend[bought]"),
        ({"blend": {"rated": 0.0, "liked": 0.0}}, "blend"),
        ({"blend": {"rated": _NAN}}, "blend[rated]"),
        ({"blend": {"rated": float("inf")}}, "blend[rated]"),
        ({"blend": {"rated": -1.0}}, "blend[rated]"),
        ({"history_weights": [1.0]}, "history_weights"),
        ({"history_weights": [0.5, 0.2, 0.2, 0.1]}, "history_weights"),
        ({"history_weights": [1.0, _NAN, 0.0]}, "history_weights[1]"),
        ({"history_weights": [1.0, 0.0, -1.0]}, "history_weights[2]"),
        ({"ranker": "other"}, "ranker"),
        ({"count": 2001}, "count"),
        ({"selection": ranking_pb2.SelectionPolicy(pinned_rows=[ITEM_COUNT])}, "selection.pinned_rows[0]"),
        ({"selection": ranking_pb2.SelectionPolicy(pinned_rows=[1] * 201)}, "selection.pinned_rows"),
        (
            {"selection": ranking_pb2.SelectionPolicy(diversity=common_pb2.Diversity(strength=1.5))},
            "selection.diversity.strength",
        ),
    ],
)
def test_what_breaks_the_contract_is_refused_by_its_path(
    service: RankingProcess, changes: dict[str, Any], path: str
) -> None:
    code, reason, violations = failure(lambda: service.rank(rank_request(**changes)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [violation.field for violation in violations] == [path]
    assert len(service.rank(rank_request()).items) == 10


def test_2000_candidates_are_ranked_each_item_once(service: RankingProcess) -> None:
    rows = np.random.default_rng(1).permutation(np.repeat(np.arange(ITEM_COUNT), 10)).tolist()
    scores = np.linspace(0.9, -0.9, 2000).tolist()
    request = rank_request(candidates=_COLUMNS(rows=rows, scores=scores), count=2000)
    response = service.rank(request)
    assert sorted(item.row for item in response.items) == list(range(ITEM_COUNT))
    assert response.shortfall.missing_count == 2000 - ITEM_COUNT
    first = {row: rows.index(row) for row in range(ITEM_COUNT)}
    assert {item.row: item.candidate_index for item in response.items} == first
    _, blended = reference([1, 2, 3], list(range(ITEM_COUNT)), [scores[first[row]] for row in range(ITEM_COUNT)])
    assert [item.score for item in response.items] == pytest.approx(
        [float(blended[item.row]) for item in response.items], abs=1e-4
    )


def test_no_candidates_at_all_are_a_shortfall(service: RankingProcess) -> None:
    response = service.rank(rank_request(candidates=_COLUMNS(), explain=True, trace=True))
    assert not response.items
    assert response.shortfall.missing_count == 10
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_TOO_FEW_CANDIDATES


def test_a_millisecond_is_a_spent_deadline_if_anything_and_no_lasting_harm(service: RankingProcess) -> None:
    outcomes = set()
    for _ in range(30):
        try:
            outcomes.add(str(len(service.rank(rank_request(), timeout=0.001).items)))
        except grpc.RpcError as error:
            outcomes.add(error.code().name)
    # A fast machine may even answer.
    assert outcomes <= {"DEADLINE_EXCEEDED", "10"}
    assert len(service.rank(rank_request()).items) == 10


def test_the_ranker_that_scored_is_named(service: RankingProcess) -> None:
    assert service.rank(rank_request()).ranker == service.rank(rank_request(ranker="default")).ranker == "default"
