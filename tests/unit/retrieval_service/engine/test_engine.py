from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import Candidates, RetrievalQuery
from tests.bundles import TinyCatalogue, make_orders
from tests.unit.retrieval_service.engine.conftest import SHARES
from tests.unit.retrieval_service.engine.rule import (
    ITEM_COUNT,
    ROW,
    Rule,
    array,
    by_place,
    history,
    queries,
    seated,
)
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.candidates.shortfall import Shortfall, ShortfallReason
from twostage.candidates.source import Source
from twostage.errors import InvalidField


def distinct(scores: NDArray[np.float64]) -> bool:
    """Scores so close that float32 may swap them have no one right order; about one query in fifty has some."""
    return bool(np.diff(np.sort(scores)).min() > 1e-6)


def check(engine: RetrievalEngine, rule: Rule, query: RetrievalQuery) -> None:
    items = rule.items
    vectors = rule.vectors(query)
    assume(all(distinct(items.vectors @ vector) for several in vectors.values() for vector in several))
    scored_by = next((vectors[s][0] for s in (Source.USER_VECTOR, Source.INTEREST_TAGS) if vectors.get(s)), None)
    lists = rule.lists(query, vectors)
    seats = rule.seats(query, set(lists), by_vector=scored_by is not None)
    expected, ranks = seated(lists, seats, query.count)
    candidates = engine.retrieve(query)

    rows = candidates.rows.tolist()
    assert len(rows) == len(set(rows))
    missing_count = 0 if candidates.shortfall is None else candidates.shortfall.missing_count
    assert len(rows) + missing_count == query.count
    assert candidates.shortfall is None or missing_count >= 1
    assert set(rows) <= set(rule.allowed(query.exclude_rows, query.filter))
    assert candidates.sources.all()
    assert dict(zip(rows, candidates.sources.tolist(), strict=True)) == expected
    if scored_by is None:
        assert not candidates.scores.any()
        assert rows == by_place(expected, ranks)
    else:
        np.testing.assert_allclose(candidates.scores, (items.vectors @ scored_by)[rows], atol=1e-5)
        assert (np.diff(candidates.scores) <= 0).all()
    told = {
        source: {row: rank for row, rank in zip(rows, column.tolist(), strict=True) if rank}
        for source, column in candidates.source_ranks.items()
    }
    assert {source: by_row for source, by_row in told.items() if by_row} == (ranks if query.return_source_ranks else {})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(query=queries())
def test_candidates_are_those_of_the_rule_and_add_up(
    engine: RetrievalEngine, items: TinyCatalogue, query: RetrievalQuery
) -> None:
    check(engine, Rule(items, engine, None), query)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(query=queries(), stated=st.booleans())
def test_with_all_sources_too(
    rich_engine: RetrievalEngine, items: TinyCatalogue, query: RetrievalQuery, stated: bool
) -> None:
    check(rich_engine, Rule(items, rich_engine, SHARES), query if stated else replace(query, quotas={}))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=60), count=st.integers(1, 200))
def test_exact_retrieval_is_brute_force_in_numpy(
    engine: RetrievalEngine, items: TinyCatalogue, rows: list[int], count: int
) -> None:
    vector = engine.user_vector(history(*rows))
    assert vector is not None
    scores = items.vectors.astype(np.float64) @ vector
    assume(distinct(scores))
    candidates = engine.retrieve(RetrievalQuery(history(*rows), count, exclude_rows=array(rows)))
    scores[rows] = -np.inf
    expected = np.argsort(-scores, kind="stable")[: min(count, ITEM_COUNT - len(set(rows)))]
    np.testing.assert_allclose(candidates.scores, scores[expected], atol=1e-6)
    assert candidates.rows.tolist() == expected.tolist()


def test_only_the_newest_50_entries_count(engine: RetrievalEngine) -> None:
    rows = list(range(100, 150))
    long, short = (engine.user_vector(history(*entries)) for entries in ([*range(30), *rows], rows))
    np.testing.assert_array_equal(long, short)


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("rows", [[3], [3, 14, 3, 15], list(range(100, 163))])
def test_the_parts_of_the_history_are_told_when_asked_for(
    engine: RetrievalEngine, items: TinyCatalogue, rows: list[int], shard: bool
) -> None:
    query = RetrievalQuery(history(*rows), 10, return_history_weights=True)
    weights = engine.gather(query).history_weights if shard else engine.retrieve(query).history_weights
    assert weights is not None
    assert weights.shape == (len(rows),)
    assert not weights[:-50].any()
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    pooled = weights @ items.vectors[rows]
    vector = engine.user_vector(history(*rows))
    assert vector is not None
    np.testing.assert_allclose(pooled / np.linalg.norm(pooled), vector, atol=1e-5)


def test_parts_of_no_history_and_parts_that_nobody_asked_for_are_none(engine: RetrievalEngine) -> None:
    assert engine.retrieve(RetrievalQuery(history(), 5, return_history_weights=True)).history_weights is None
    assert engine.retrieve(RetrievalQuery(history(1, 2), 5)).history_weights is None


def test_without_a_history_there_is_no_user_vector(engine: RetrievalEngine) -> None:
    assert engine.user_vector(history()) is None


def test_a_persons_candidates_are_of_the_kind_they_read(engine: RetrievalEngine, items: TinyCatalogue) -> None:
    own = np.flatnonzero(items.clusters == 2)
    candidates = engine.retrieve(RetrievalQuery(history(*own[:5]), 10, exclude_rows=own[:5].astype(np.uint32)))
    assert (items.clusters[candidates.rows] == 2).mean() >= 0.8


def test_tags_alone_bring_items_of_their_kind(rich_engine: RetrievalEngine, items: TinyCatalogue) -> None:
    candidates = rich_engine.retrieve(RetrievalQuery(history(), 10, interest_tags=("poetry", "unknown", "poetry")))
    poetry = items.clusters[candidates.rows] == 5
    assert poetry[candidates.sources & Source.INTEREST_TAGS > 0].mean() >= 0.9
    assert (np.diff(candidates.scores) <= 0).all()
    assert (candidates.scores > 0).any()


def test_tags_that_nobody_knows_are_a_cold_start(rich_engine: RetrievalEngine) -> None:
    nothing_known = rich_engine.retrieve(RetrievalQuery(history(), 30))
    unknown = rich_engine.retrieve(
        RetrievalQuery(history(), 30, interest_tags=tuple(f"unknown {n}" for n in range(64)))
    )
    assert unknown.rows.tolist() == nothing_known.rows.tolist()


def test_a_cold_start_mixes_trending_representatives_and_popular(
    rich_engine: RetrievalEngine, items: TinyCatalogue
) -> None:
    candidates = rich_engine.retrieve(RetrievalQuery(history(), 20))
    orders = make_orders(items)
    popular = sorted(range(ITEM_COUNT), key=lambda row: (-items.popularity[row], row))
    reserved = list(dict.fromkeys([*orders.trending[:10].tolist(), *orders.representatives[:1].tolist()]))
    filled = [row for row in popular if row not in reserved][: 20 - len(reserved)]
    assert set(candidates.rows.tolist()) == {*reserved, *filled}
    assert set(candidates.rows[:2].tolist()) == {popular[0], int(orders.trending[0])}


def test_without_times_a_cold_start_begins_with_the_most_popular(engine: RetrievalEngine, items: TinyCatalogue) -> None:
    popular = sorted(range(ITEM_COUNT), key=lambda row: (-items.popularity[row], row))
    assert engine.retrieve(RetrievalQuery(history(), 20)).rows.tolist() == popular[:20]


def test_several_interests_each_get_their_share(rich_engine: RetrievalEngine, items: TinyCatalogue) -> None:
    """The newest entries are of one kind, the older ones of another that the user vector nearly forgets."""
    kinds = [np.flatnonzero(items.clusters == cluster)[:6] for cluster in (1, 6)]
    rows = np.concatenate(kinds).astype(np.uint32)
    candidates = rich_engine.retrieve(
        RetrievalQuery(history(*rows), 30, exclude_rows=rows, quotas={Source.INTEREST_VECTORS: 12})
    )
    brought = items.clusters[candidates.rows[candidates.sources & Source.INTEREST_VECTORS > 0]]
    assert len(brought) == 12
    assert (brought == 1).sum() >= 4
    assert (brought == 6).sum() >= 4


def missing(candidates: Candidates) -> Shortfall | None:
    return candidates.shortfall


@pytest.mark.parametrize("rows", [(), (3, 4)])
def test_a_shortfall_says_why(engine: RetrievalEngine, rows: tuple[int, ...]) -> None:
    nothing_missing = engine.retrieve(RetrievalQuery(history(*rows), ITEM_COUNT))
    too_many = engine.retrieve(RetrievalQuery(history(*rows), ITEM_COUNT + 5))
    excluded = engine.retrieve(RetrievalQuery(history(*rows), ITEM_COUNT, exclude_rows=array([1, 1, 2])))
    quotas = {Source.USER_VECTOR: 5, Source.POPULAR: 5}
    by_quota = engine.retrieve(RetrievalQuery(history(*rows), 100, quotas=quotas))
    assert missing(nothing_missing) is None
    assert missing(too_many) == Shortfall(5, ShortfallReason.CATALOGUE_TOO_SMALL)
    assert missing(excluded) == Shortfall(2, ShortfallReason.EXCLUDED)
    assert missing(by_quota) == Shortfall(100 - len(by_quota.rows), ShortfallReason.SELECTION_POLICY)


def test_nothing_left_is_no_error(rich_engine: RetrievalEngine) -> None:
    everything = np.arange(ITEM_COUNT, dtype=np.uint32)
    for rows in ((), (3, 4)):
        candidates = rich_engine.retrieve(RetrievalQuery(history(*rows), 7, exclude_rows=everything))
        assert len(candidates.rows) == 0
        assert candidates.shortfall == Shortfall(7, ShortfallReason.EXCLUDED)


def test_a_wrong_filter_is_refused_by_its_path(engine: RetrievalEngine) -> None:
    wrong = Filter((Condition("year"), Condition("publisher", any_of=("x",))))
    with pytest.raises(InvalidField, match=r"filter.conditions\[1\].attribute: expected one of tags, language, year"):
        engine.retrieve(RetrievalQuery(history(), 5, filter=wrong))


def test_timings_name_every_step(engine: RetrievalEngine) -> None:
    timings = engine.retrieve(RetrievalQuery(history(1), 5)).timings_ms
    assert list(timings) == ["select", "user_tower", "search", "blend"]
    assert all(milliseconds >= 0 for milliseconds in timings.values())


def test_threads_get_the_answers_that_one_gets(rich_engine: RetrievalEngine) -> None:
    asked = [RetrievalQuery(history(*range(seed % 60), seed * 7 % 200), 50) for seed in range(100)]
    alone = [rich_engine.retrieve(query).rows.tolist() for query in asked]
    with ThreadPoolExecutor(4) as pool:
        together = [candidates.rows.tolist() for candidates in pool.map(rich_engine.retrieve, asked)]
    assert together == alone


def test_warming_answers_nothing_and_fails_for_nobody(rich_engine: RetrievalEngine) -> None:
    rich_engine.warm()
    assert rich_engine.item_count == ITEM_COUNT


@pytest.mark.parametrize(
    "file",
    [
        "retrieval/default/item_vectors.npy",
        "retrieval/default/user_tower.tflite",
        "retrieval/default/index.faiss",
        "retrieval/default/representatives.npy",
        "retrieval/default/tags/vectors.npy",
        "retrieval/default/tags/vocabulary.low.npy",
        "items/trending.npy",
        "items/arrivals.npy",
    ],
)
def test_a_generation_without_a_file_is_refused(rich_generation: Generation, tmp_path: Path, file: str) -> None:
    folder = tmp_path / str(rich_generation.number)
    shutil.copytree(rich_generation.path, folder)
    (folder / file).unlink()
    with pytest.raises(BundleCorrupt, match=Path(file).name):
        RetrievalEngine.open(Generation(folder))
