from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_service.engine.index import frontier
from retrieval_service.engine.index.construction import silent
from retrieval_service.engine.index.faiss_index import FaissIndex
from retrieval_service.engine.index.families import index_specs
from retrieval_service.engine.index.frontier import Point, choose, measure_frontier
from tests.unit.retrieval_service.engine.index.small_index import (
    DIMENSION,
    ENTRIES,
    LIST_COUNT,
    QUERIES,
    VECTORS,
    faiss_parts,
    nearest,
    row_lists,
)

SPEC = index_specs(DIMENSION)["ivf_fp16"]
NEAREST = np.array([nearest(query, 30) for query in QUERIES])


def point(recall: float, median_ms: float, standard_error: float = 0.0) -> Point:
    return Point(SPEC, ENTRIES["ivf_fp16"], recall, standard_error, median_ms)


def test_the_fastest_that_reaches_the_recall_is_chosen() -> None:
    points = [point(0.99, 3.0), point(0.96, 2.0), point(0.94, 1.0)]
    assert choose(points, 0.95) is points[1]


def test_a_recall_within_its_standard_error_of_the_target_is_passed_over() -> None:
    points = [point(0.955, 1.0, 0.01), point(0.97, 2.0, 0.01)]
    assert choose(points, 0.95) is points[1]


def test_a_recall_without_a_standard_error_to_spare_beats_one_that_falls_short() -> None:
    points = [point(0.949, 1.0, 0.0), point(0.955, 2.0, 0.01)]
    assert choose(points, 0.95) is points[1]


def test_the_best_recall_is_chosen_where_none_reaches_the_target() -> None:
    points = [point(0.5, 1.0), point(0.8, 9.0), point(0.7, 2.0)]
    assert choose(points, 0.95) is points[1]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 10)), min_size=1), st.floats(0.01, 1))
def test_nothing_that_reaches_the_target_is_faster_than_what_is_chosen(
    measured: list[tuple[float, float]], target: float
) -> None:
    points = [point(*one) for one in measured]
    chosen = choose(points, target)
    reaching = [one for one in points if one.recall >= target]
    if reaching:
        assert chosen.recall >= target
        assert chosen.median_ms == min(one.median_ms for one in reaching)
    else:
        assert chosen.recall == max(one.recall for one in points)


@pytest.mark.parametrize("name", ["exact", "ivf_fp16", "hnsw"])
def test_deeper_searches_are_tried_until_they_find_no_more_and_recalls_are_those_of_faiss(name: str) -> None:
    spec = replace(index_specs(DIMENSION)[name], pool_factors=(1.0,))
    lists = row_lists() if spec.family == "ivf" else None
    (index,) = faiss_parts(name)
    points = measure_frontier([spec], {spec.factory: [index]}, VECTORS, lists, QUERIES, NEAREST, silent, 0.9)
    assert all(one.median_ms > 0 for one in points)
    assert max(one.recall for one in points) >= 0.99
    if name == "exact":
        assert [one.recall for one in points] == [1.0]
        return
    depths = [one.entry.probe_count or one.entry.ef_search or 0 for one in points]
    assert depths == sorted(set(depths))
    if name == "ivf_fp16":
        assert max(depths) <= LIST_COUNT
        for one in points:
            index.nprobe = one.entry.probe_count
            found = index.search(QUERIES, 30)[1]
            # A search whose lists hold too few ends in a scan, which finds them all.
            shares = [
                np.isin(wanted, rows).mean() if rows[-1] >= 0 else 1.0
                for wanted, rows in zip(NEAREST, found, strict=True)
            ]
            assert one.recall == pytest.approx(np.mean(shares), abs=0.002)
            assert one.standard_error == pytest.approx(np.std(shares) / len(shares) ** 0.5, abs=0.002)


def test_what_is_nearly_the_fastest_is_timed_again_and_recalls_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short trials put neighbours in the wrong order; here the first trial calls the slowest of them the fastest."""
    timed: list[tuple[int, int]] = []

    def times(indexes: Sequence[FaissIndex], _queries: Any, at: int, repeats: int) -> list[float]:
        assert at == 30
        timed.append((len(indexes), repeats))
        # First 1.0, 1.1, 1.2 and so on, then the other way round.
        return [1 + 0.1 * (number if len(timed) == 1 else len(indexes) - number) for number in range(len(indexes))]

    monkeypatch.setattr(frontier, "median_ms", times)
    spec = replace(SPEC, pool_factors=(1.0,))
    (index,) = faiss_parts("ivf_fp16")
    points = measure_frontier([spec], {SPEC.factory: [index]}, VECTORS, row_lists(), QUERIES, NEAREST, silent, 0.9)
    reaching = [number for number, one in enumerate(points) if one.recall >= 0.9]
    fastest = min(number for number in reaching if points[number].recall - points[number].standard_error >= 0.9)
    close = [number for number in reaching if 1 + 0.1 * number <= 1.3 * (1 + 0.1 * fastest)]
    assert len(close) > 1
    assert [count for count, _ in timed] == [len(points), len(close)]
    assert timed[1][1] > timed[0][1]
    for number, one in enumerate(points):
        again = number in close
        expected = 1 + 0.1 * (len(close) - close.index(number) if again else number)
        assert one.median_ms == pytest.approx(expected)


def test_where_nothing_reaches_the_recall_the_search_ends_with_what_there_is() -> None:
    spec = replace(index_specs(DIMENSION)["ivf_pq1"], pool_factors=(1.0,))
    (index,) = faiss_parts("ivf_pq1")
    points = measure_frontier([spec], {spec.factory: [index]}, VECTORS, row_lists(), QUERIES, NEAREST, silent, 1.0)
    assert 0 < max(one.recall for one in points) < 1.0


def test_scalar_codes_are_tried_with_a_pool_as_large_as_asked_for_and_a_little_larger() -> None:
    (index,) = faiss_parts("ivf_fp16")
    points = measure_frontier(
        [SPEC], {SPEC.factory: [index]}, VECTORS, row_lists(), QUERIES[:8], NEAREST[:8], silent, 0.9
    )
    assert {one.entry.pool_factor for one in points} == {1.0, 1.1}
