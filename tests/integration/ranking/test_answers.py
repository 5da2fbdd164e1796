"""What the ranking service answers: a process before a real model server, over real sockets."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from tests.bundles import make_catalogue
from tests.integration.ranking.asking import failure, rank_request
from tests.integration.ranking.processes import RankingProcess
from tests.integration.ranking.reference import ITEM_COUNT, reference
from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2

_SERVING = health_pb2.HealthCheckResponse.SERVING


def test_the_ranking_is_that_of_the_model_and_the_blend(service: RankingProcess) -> None:
    request = rank_request(generation=1, count=100, trace=True)
    response = service.rank(request)
    rows = list(request.candidates.rows)
    probabilities, blended = reference([1, 2, 3], rows, list(request.candidates.scores))
    places = [item.candidate_index for item in response.items]
    assert sorted(places) == list(range(100))
    assert [item.row for item in response.items] == [rows[place] for place in places]
    assert [item.score for item in response.items] == pytest.approx(blended[places].tolist(), abs=1e-4)
    assert [item.score for item in response.items] == sorted([item.score for item in response.items], reverse=True)
    assert np.allclose([list(item.action_scores) for item in response.items], probabilities[places], atol=1e-4)
    assert list(response.actions) == ["rated", "liked", "to_read"]
    assert [item.ranking_rank for item in response.items] == list(range(1, 101))
    assert response.generation == 1
    assert not response.HasField("shortfall")


def test_items_carry_ids_titles_attributes_and_reasons(service: RankingProcess) -> None:
    response = service.rank(rank_request(attributes=["tags", "language"], explain=True))
    catalogue = make_catalogue(item_count=ITEM_COUNT)
    assert len(response.items) == 10
    for item in response.items:
        assert item.item_id == catalogue.item_ids[item.row]
        assert item.title == catalogue.titles[item.row]
        assert item.attributes["tags"].split(", ") == catalogue.tags[item.row]
    reasons = [reason for item in response.items for reason in item.reasons]
    assert reasons
    known = [f"because of {catalogue.titles[row]} (" for row in (1, 2, 3)]
    assert all(any(reason.startswith(text) for text in known) for reason in reasons)


def test_the_steps_are_timed_with_the_model_server_apart(service: RankingProcess) -> None:
    timings = {timing.stage: timing.compute_ms for timing in service.rank(rank_request()).timings}
    steps = ["gather", "model_server", "blend", "select", "describe"]
    assert list(timings) == [*steps, "ranking"]
    assert timings["model_server"] > 0
    assert timings["ranking"] >= sum(timings[step] for step in steps)


def test_fewer_candidates_than_asked_for_are_a_shortfall(service: RankingProcess) -> None:
    response = service.rank(rank_request(count=150))
    assert len(response.items) + response.shortfall.missing_count == 150
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_TOO_FEW_CANDIDATES
    nothing = service.rank(rank_request(candidates=retrieval_pb2.CandidateColumns()))
    assert (len(nothing.items), nothing.shortfall.missing_count) == (0, 10)


def test_caps_and_pins_hold_over_the_wire(service: RankingProcess) -> None:
    diversity = common_pb2.Diversity(strength=0.3, caps=[common_pb2.Cap(attribute="language", max_count=3)])
    selection = ranking_pb2.SelectionPolicy(diversity=diversity, pinned_rows=[159, 0])
    response = service.rank(rank_request(selection=selection))
    languages = make_catalogue(item_count=ITEM_COUNT).languages
    chosen = [languages[item.row][0] for item in response.items]
    assert response.items[0].row == 159
    assert max(chosen.count(language) for language in set(chosen)) <= 3


def test_another_generation_is_refused_with_those_that_are_held(service: RankingProcess) -> None:
    code, reason, _ = failure(lambda: service.rank(rank_request(generation=2)))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "GENERATION_NOT_LOADED")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"count": 0}, "count"),
        ({"count": 2001}, "count"),
        ({"generation": -1}, "generation"),
        ({"ranker": "best"}, "ranker"),
        ({"blend": {"bought": 1.0}}, "blend[bought]"),
        ({"attributes": ["colour"]}, "attributes[0]"),
        ({"candidates": retrieval_pb2.CandidateColumns(rows=[1, 200], scores=[1, 1])}, "candidates.rows[1]"),
        ({"candidates": retrieval_pb2.CandidateColumns(rows=[1], scores=[])}, "candidates.scores"),
        ({"history": common_pb2.History(rows=[200])}, "history.rows[0]"),
    ],
)
def test_a_bad_field_is_named_and_the_next_request_is_served(
    service: RankingProcess, changes: dict[str, Any], path: str
) -> None:
    code, reason, violations = failure(lambda: service.rank(rank_request(**changes)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [violation.field for violation in violations] == [path]
    assert len(service.rank(rank_request()).items) == 10


def test_the_status_says_what_is_held(service: RankingProcess) -> None:
    status = service.status()
    assert (status.service, status.serving, status.detail) == ("ranking", True, "")
    assert [(held.generation, held.item_count, held.active) for held in status.generations] == [(1, 200, True)]
    assert service.health() == _SERVING
