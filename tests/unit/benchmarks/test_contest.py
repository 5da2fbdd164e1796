from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from benchmarks.retrieval.contest import Point, fastest, ratio
from benchmarks.retrieval.told_process import SearcherProcess
from training.index_plot import undominated


class _Searcher:
    name = "library"
    points = ({"effort": 1.0},)


def _point(recall: float, milliseconds: float) -> Point:
    return Point(cast("SearcherProcess", _Searcher()), 0, recall=recall, round_ms=[milliseconds])


def _pairs(points: list[Point]) -> list[tuple[float, float]]:
    return [(point.recall, point.median_ms) for point in points]


def test_pareto_keeps_exactly_the_points_that_no_other_beats_in_both() -> None:
    random = np.random.default_rng(0)
    points = [_point(recall, time) for recall, time in random.random((60, 2)).round(2).tolist()]
    kept = _pairs(undominated(points))
    beaten = {
        own
        for own in _pairs(points)
        for other in _pairs(points)
        if other != own and other[0] >= own[0] and other[1] <= own[1]
    }
    assert set(kept) == set(_pairs(points)) - beaten
    assert kept == sorted(kept, key=lambda pair: pair[1])


def test_the_fastest_is_chosen_among_those_that_reach_the_recall() -> None:
    points = [_point(0.94, 0.1), _point(0.95, 0.3), _point(0.99, 0.2)]
    assert fastest(points, 0.95) is points[2]
    assert fastest(points, 0.995) is None


def test_a_ratio_compares_within_rounds_so_that_a_slow_round_does_not_count() -> None:
    own, other = _point(1.0, 1.0), _point(1.0, 1.0)
    own.contest_ms, other.contest_ms = [2.0, 20.0, 2.0], [1.0, 10.0, 1.0]
    assert ratio(own, other) == pytest.approx(2.0)


def test_a_median_is_taken_over_rounds() -> None:
    point = _point(1.0, 5.0)
    point.round_ms += [1.0, 3.0]
    document: dict[str, Any] = point.as_json()
    assert document["median_ms"] == 3.0
