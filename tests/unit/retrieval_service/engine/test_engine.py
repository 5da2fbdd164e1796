from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import Candidates, RetrievalQuery, Shortfall, ShortfallReason
from tests.bundles import CLUSTERS, LANGUAGES, TinyCatalogue
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.candidates.source import Source
from twostage.errors import InvalidField
from twostage.features.history import History

ITEM_COUNT = 200
ROW = st.integers(0, ITEM_COUNT - 1)


def history(*rows: int) -> History:
    return History.of_rows(np.array(rows, np.uint32))


def array(rows: list[int]) -> NDArray[np.uint32]:
    return np.array(rows, np.uint32)


def distinct(scores: NDArray[np.float64]) -> bool:
    """Scores so close that float32 may swap them have no one right order; about one query in fifty has some."""
    return bool(np.diff(np.sort(scores)).min() > 1e-6)


@st.composite
def queries(draw: st.DrawFn) -> RetrievalQuery:
    conditions = []
    if draw(st.booleans()):
        conditions.append(Condition("tags", any_of=tuple(draw(st.lists(st.sampled_from(CLUSTERS), max_size=4)))))
    if draw(st.booleans()):
        conditions.append(Condition("language", none_of=(draw(st.sampled_from(LANGUAGES)),)))
    if draw(st.booleans()):
        conditions.append(Condition("year", minimum=draw(st.sampled_from([1890.0, 1950.0, 2030.0]))))
    return RetrievalQuery(
        history=history(*draw(st.lists(ROW, max_size=60))),
        count=draw(st.integers(1, 260)),
        exclude_rows=array(draw(st.lists(ROW, max_size=120))),
        filter=Filter(tuple(conditions)),
        interest_tags=tuple(draw(st.lists(st.sampled_from([*CLUSTERS, "unknown"]), max_size=3))),
        quotas=draw(st.dictionaries(st.sampled_from(list(Source)), st.integers(0, 120))),
        include_rows=array(draw(st.lists(ROW, max_size=20))),
    )


def allowed_rows(query: RetrievalQuery, items: TinyCatalogue) -> list[int]:
    """What exclusions and filter leave, item by item."""

    def passes(row: int, condition: Condition) -> bool:
        if condition.attribute == "year":
            return condition.minimum is None or bool(items.years[row] >= condition.minimum)
        values = set(items.tags[row] if condition.attribute == "tags" else items.languages[row])
        return (not condition.any_of or bool(values & set(condition.any_of))) and not values & set(condition.none_of)

    excluded = set(query.exclude_rows.tolist())
    return [
        row
        for row in range(ITEM_COUNT)
        if row not in excluded and all(passes(row, condition) for condition in query.filter.conditions)
    ]


def expected_sources(query: RetrievalQuery, items: TinyCatalogue, scores: NDArray[np.float64] | None) -> dict[int, int]:
    """The blend's documented rule, one row at a time."""
    allowed = allowed_rows(query, items)
    popular = sorted(allowed, key=lambda row: (-items.popularity[row], row))
    tags = set(query.interest_tags)
    lists = {
        Source.INTEREST_TAGS: [row for row in popular if tags & {*items.tags[row], *items.languages[row]}],
        Source.POPULAR: popular,
        Source.INCLUDED: [row for row in dict.fromkeys(query.include_rows.tolist()) if row in allowed],
    }
    order = [Source.INTEREST_TAGS, Source.POPULAR] if tags else [Source.POPULAR]
    if scores is not None:
        lists[Source.USER_VECTOR] = sorted(allowed, key=lambda row: (-scores[row], row))
        order = [Source.USER_VECTOR, *order]
    reserving = [Source.INCLUDED, *[source for source in order[1:] if source in query.quotas]]
    places: dict[int, int] = {}
    for source in [*reserving, *[source for source in order if source not in reserving]]:
        if len(places) == query.count:
            break
        for row in lists[source][: min(query.count, query.quotas.get(source, query.count))]:
            if row not in places and len(places) == query.count:
                break
            places[row] = places.get(row, 0) | source
    return places


@settings(max_examples=300, deadline=None)
@given(query=queries())
def test_candidates_are_those_of_the_rule_and_add_up(
    engine: RetrievalEngine, items: TinyCatalogue, query: RetrievalQuery
) -> None:
    candidates = engine.retrieve(query)
    vector = engine.user_vector(query.history)
    scores = None if vector is None else items.vectors.astype(np.float64) @ vector
    assume(scores is None or distinct(scores))
    expected = expected_sources(query, items, scores)

    rows = candidates.rows.tolist()
    assert len(rows) == len(set(rows))
    missing_count = 0 if candidates.shortfall is None else candidates.shortfall.missing_count
    assert len(rows) + missing_count == query.count
    assert candidates.shortfall is None or missing_count >= 1
    assert set(rows) <= set(allowed_rows(query, items))
    assert dict(zip(rows, candidates.sources.tolist(), strict=True)) == expected
    if scores is None:
        assert not candidates.scores.any()
        tagged = [bool(expected[row] & Source.INTEREST_TAGS) for row in rows]
        keys = [(not tag, -items.popularity[row], row) for tag, row in zip(tagged, rows, strict=True)]
        assert keys == sorted(keys)
    else:
        np.testing.assert_allclose(candidates.scores, scores[rows], atol=1e-5)
        assert (np.diff(candidates.scores) <= 0).all()


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


def test_without_a_history_there_is_no_user_vector(engine: RetrievalEngine) -> None:
    assert engine.user_vector(history()) is None


def test_a_persons_candidates_are_of_the_kind_they_read(engine: RetrievalEngine, items: TinyCatalogue) -> None:
    own = np.flatnonzero(items.clusters == 2)
    candidates = engine.retrieve(RetrievalQuery(history(*own[:5]), 10, exclude_rows=own[:5].astype(np.uint32)))
    assert (items.clusters[candidates.rows] == 2).mean() >= 0.8


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


def test_a_wrong_filter_is_refused_by_its_path(engine: RetrievalEngine) -> None:
    wrong = Filter((Condition("year"), Condition("publisher", any_of=("x",))))
    with pytest.raises(InvalidField, match=r"filter.conditions\[1\].attribute: expected one of tags, language, year"):
        engine.retrieve(RetrievalQuery(history(), 5, filter=wrong))


def test_timings_name_every_step(engine: RetrievalEngine) -> None:
    timings = engine.retrieve(RetrievalQuery(history(1), 5)).timings_ms
    assert list(timings) == ["select", "user_tower", "search", "blend"]
    assert all(milliseconds >= 0 for milliseconds in timings.values())


def test_threads_get_the_answers_that_one_gets(engine: RetrievalEngine) -> None:
    asked = [RetrievalQuery(history(seed % 200, seed * 7 % 200), 50) for seed in range(200)]
    alone = [engine.retrieve(query).rows.tolist() for query in asked]
    with ThreadPoolExecutor(4) as pool:
        together = [candidates.rows.tolist() for candidates in pool.map(engine.retrieve, asked)]
    assert together == alone


def test_warming_answers_nothing_and_fails_for_nobody(engine: RetrievalEngine) -> None:
    engine.warm()
    assert engine.item_count == ITEM_COUNT


@pytest.mark.parametrize("name", ["item_vectors.npy", "user_tower.tflite", "index.faiss"])
def test_a_generation_without_a_file_is_refused(generation: Generation, tmp_path: Path, name: str) -> None:
    folder = tmp_path / str(generation.number)
    shutil.copytree(generation.path, folder)
    (folder / "retrieval" / "default" / name).unlink()
    with pytest.raises(BundleCorrupt, match=name):
        RetrievalEngine.open(Generation(folder))
