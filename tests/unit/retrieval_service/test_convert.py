from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from retrieval_service.convert import (
    query_of,
    response_of,
    similar_query_of,
    similar_response_of,
    write_gathered,
)
from retrieval_service.engine.query import Candidates, Gathered, Shard
from twostage.bundle.filters import Condition
from twostage.bundle.generation import Generation
from twostage.bundle.id_table import IdTable
from twostage.candidates.shortfall import Shortfall, ShortfallReason
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList
from twostage.errors import InvalidField, ItemNotFound
from twostage.v1 import common_pb2, retrieval_pb2

Request = retrieval_pb2.RetrieveRequest
SimilarRequest = retrieval_pb2.RetrievalServiceSimilarItemsRequest
History = common_pb2.History


@pytest.fixture(scope="module")
def ids(generation: Generation) -> IdTable:
    return generation.ids


def test_a_whole_request_is_read(ids: IdTable) -> None:
    request = Request(
        history=History(rows=[5, 7], actions=["rated", ""], values=[4.0, math.nan], times_seconds=[9, 0]),
        interest_tags=["poetry"],
        filter=common_pb2.Filter(
            conditions=[
                common_pb2.Condition(attribute="tags", any_of=["a", "b"], none_of=["c"]),
                common_pb2.Condition(attribute="year", range=common_pb2.Range(min=1900)),
                common_pb2.Condition(attribute="year", range=common_pb2.Range(max=0)),
                common_pb2.Condition(attribute="year"),
            ]
        ),
        exclude_item_ids=["item-1", "nobody knows this"],
        exclude_rows=[3, 3],
        count=9,
        quotas=[
            retrieval_pb2.Quota(source=retrieval_pb2.SOURCE_POPULAR, max_count=4),
            retrieval_pb2.Quota(source=retrieval_pb2.SOURCE_USER_VECTOR, max_count=0),
        ],
        include_item_ids=["item-8"],
        return_source_ranks=True,
        return_history_weights=True,
    )
    query = query_of(request, ids)
    assert query.return_source_ranks
    assert query.return_history_weights
    assert query.history.rows.tolist() == [5, 7]
    assert query.count == 9
    assert sorted(query.exclude_rows.tolist()) == [1, 3, 3]
    assert query.include_rows.tolist() == [8]
    assert query.interest_tags == ("poetry",)
    assert query.quotas == {Source.POPULAR: 4, Source.USER_VECTOR: 0}
    assert query.filter.conditions == (
        Condition("tags", ("a", "b"), ("c",)),
        Condition("year", minimum=1900.0),
        Condition("year", maximum=0.0),
        Condition("year"),
    )


def test_unknown_ids_in_a_history_are_left_out_in_order(ids: IdTable) -> None:
    request = Request(history=History(item_ids=["item-9", "?", "item-2"], values=[1, 2, 3]), count=1)
    assert query_of(request, ids).history.rows.tolist() == [9, 2]


def test_the_least_request_asks_for_nothing_special(ids: IdTable) -> None:
    query = query_of(Request(count=1), ids)
    assert len(query.history) == len(query.exclude_rows) == len(query.include_rows) == 0
    assert not query.filter
    assert not query.interest_tags
    assert not query.quotas
    assert not query.return_source_ranks
    assert not query.return_history_weights


def conditions(*entries: common_pb2.Condition) -> Request:
    return Request(count=1, filter=common_pb2.Filter(conditions=entries))


def quotas(*entries: tuple[int, int]) -> Request:
    return Request(count=1, quotas=[retrieval_pb2.Quota(source=s, max_count=n) for s, n in entries])  # type: ignore[arg-type,unused-ignore]


def within(low: float, high: float) -> Request:
    return conditions(common_pb2.Condition(attribute="year", range=common_pb2.Range(min=low, max=high)))


LONG = "x" * 257
WRONG: list[tuple[Request, str]] = [
    (Request(), "count"),
    (Request(count=-1), "count"),
    (Request(count=2001), "count"),
    (Request(count=2**31 - 1), "count"),
    (Request(count=1, history=History(rows=[1], item_ids=["item-1"])), "history.item_ids"),
    (Request(count=1, history=History(rows=[0, 200])), "history.rows[1]"),
    (Request(count=1, history=History(rows=[1] * 1001)), "history.rows"),
    (Request(count=1, history=History(item_ids=["item-1"] * 1001)), "history.item_ids"),
    (Request(count=1, history=History(item_ids=["item-1", LONG])), "history.item_ids[1]"),
    (Request(count=1, history=History(item_ids=[""])), "history.item_ids[0]"),
    (Request(count=1, history=History(rows=[1, 2], actions=["rated"])), "history.actions"),
    (Request(count=1, history=History(rows=[1], actions=["x" * 65])), "history.actions[0]"),
    (Request(count=1, history=History(rows=[1, 2], values=[1, 2, 3])), "history.values"),
    (Request(count=1, history=History(item_ids=["item-1"], times_seconds=[1, 2])), "history.times_seconds"),
    (Request(count=1, history=History(values=[1])), "history.values"),
    (Request(count=1, interest_tags=["a"] * 65), "interest_tags"),
    (Request(count=1, interest_tags=["a", LONG]), "interest_tags[1]"),
    (Request(count=1, interest_tags=[""]), "interest_tags[0]"),
    (Request(count=1, exclude_item_ids=["a"] * 10_001), "exclude_item_ids"),
    (Request(count=1, exclude_item_ids=["a", ""]), "exclude_item_ids[1]"),
    (Request(count=1, exclude_rows=[1] * 20_001), "exclude_rows"),
    (Request(count=1, exclude_rows=[2**32 - 1]), "exclude_rows[0]"),
    (Request(count=1, include_item_ids=["a"] * 201), "include_item_ids"),
    (Request(count=1, include_item_ids=[LONG]), "include_item_ids[0]"),
    (quotas((0, 5)), "quotas[0].source"),
    (quotas((99, 5)), "quotas[0].source"),
    (quotas((1, 5), (1, 6)), "quotas[1].source"),
    (quotas((1, -1)), "quotas[0].max_count"),
    (quotas((1, 2001)), "quotas[0].max_count"),
    (conditions(*[common_pb2.Condition(attribute="tags")] * 33), "filter.conditions"),
    (conditions(common_pb2.Condition()), "filter.conditions[0].attribute"),
    (conditions(common_pb2.Condition(attribute="x" * 129)), "filter.conditions[0].attribute"),
    (conditions(common_pb2.Condition(attribute="tags", any_of=["a"] * 1001)), "filter.conditions[0].any_of"),
    (conditions(common_pb2.Condition(attribute="tags", none_of=["a", LONG])), "filter.conditions[0].none_of[1]"),
    (within(math.nan, 1), "filter.conditions[0].range.min"),
    (within(1, math.nan), "filter.conditions[0].range.max"),
    (within(2, 1), "filter.conditions[0].range.max"),
]


@pytest.mark.parametrize(("request_", "field"), WRONG, ids=[f"{n}-{field}" for n, (_, field) in enumerate(WRONG)])
def test_what_breaks_the_contract_is_refused_by_its_path(ids: IdTable, request_: Request, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        query_of(request_, ids)
    assert caught.value.violations[0].field == field
    assert len(caught.value.message) <= 400


@pytest.mark.parametrize(
    "make",
    [
        lambda: Request(count=2000, exclude_rows=[1] * 20_000, exclude_item_ids=["a"] * 10_000),
        lambda: Request(count=1, history=History(rows=[199] * 1000), interest_tags=["a"] * 64),
        lambda: Request(count=1, include_item_ids=["é" * 128] * 200),
        lambda: quotas(*((number, 2000) for number in range(1, 10))),
        lambda: within(-math.inf, math.inf),
    ],
)
def test_the_bounds_themselves_are_allowed(ids: IdTable, make: Callable[[], Request]) -> None:
    query_of(make(), ids)


def test_a_request_for_similar_items_is_read(ids: IdTable) -> None:
    request = SimilarRequest(
        item_id="item-8",
        count=9,
        filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="tags", any_of=["a"])]),
        exclude_item_ids=["item-1", "nobody knows this", "item-1"],
    )
    query = similar_query_of(request, ids)
    assert (query.row, query.count, query.exclude_rows.tolist()) == (8, 9, [1, 1])
    assert query.filter.conditions == (Condition("tags", ("a",)),)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (SimilarRequest(count=1), "item_id"),
        (SimilarRequest(count=1, item_id=LONG), "item_id"),
        (SimilarRequest(item_id="item-1"), "count"),
        (SimilarRequest(item_id="nobody knows this"), "count"),
        (SimilarRequest(item_id="item-1", count=2001), "count"),
        (SimilarRequest(item_id="item-1", count=1, exclude_item_ids=["a"] * 10_001), "exclude_item_ids"),
        (SimilarRequest(item_id="item-1", count=1, exclude_item_ids=[""]), "exclude_item_ids[0]"),
        (
            SimilarRequest(item_id="item-1", count=1, filter=common_pb2.Filter(conditions=[common_pb2.Condition()])),
            "filter.conditions[0].attribute",
        ),
    ],
)
def test_a_wrong_request_for_similar_items_is_refused_by_its_path(
    ids: IdTable, request_: SimilarRequest, field: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        similar_query_of(request_, ids)
    assert caught.value.violations[0].field == field


def test_an_item_that_nobody_knows_is_not_found(ids: IdTable) -> None:
    with pytest.raises(ItemNotFound, match="item-1234"):
        similar_query_of(SimilarRequest(item_id="item-1234", count=1), ids)


def candidates(count: int = 300, shortfall: Shortfall | None = None, *, bit_sets: int = 16) -> Candidates:
    generator = np.random.default_rng(0)
    return Candidates(
        rows=generator.integers(0, 200, count).astype(np.uint32),
        scores=generator.normal(size=count).astype(np.float32),
        sources=generator.integers(1, bit_sets, count).astype(np.uint16),
        shortfall=shortfall,
        timings_ms={"search": 0.5},
    )


def answer(given: Candidates, ids: IdTable | None = None) -> retrieval_pb2.RetrieveResponse:
    """As the caller reads it, off the wire."""
    history_rows = np.array([3, 1], np.uint32)
    response = response_of(given, generation=7, history_rows=history_rows, ids=ids, resolve_ms=0.25)
    return retrieval_pb2.RetrieveResponse.FromString(response.SerializeToString())


@pytest.mark.parametrize("count", [0, 1, 31, 32, 127, 128, 2000])
@pytest.mark.parametrize("bit_sets", [16, 128, 512])
def test_columns_arrive_as_they_were_sent(count: int, bit_sets: int) -> None:
    given = candidates(count, bit_sets=bit_sets)
    response = answer(given)
    assert list(response.candidates.rows) == given.rows.tolist()
    assert list(response.candidates.scores) == given.scores.tolist()
    assert list(response.candidates.sources) == given.sources.tolist()
    assert response.generation == 7
    assert list(response.history_rows) == [3, 1]
    assert not response.HasField("shortfall")
    assert [(t.stage, t.compute_ms, t.transport_ms) for t in response.timings] == [
        ("resolve", 0.25, 0),
        ("search", 0.5, 0),
    ]


def test_ids_are_sent_when_asked_for(ids: IdTable) -> None:
    given = candidates(5)
    assert not answer(given).candidates.item_ids
    expected = [f"item-{row}" if row % 17 else f"ítem-{row}" for row in given.rows.tolist()]
    assert list(answer(given, ids).candidates.item_ids) == expected


@pytest.mark.parametrize("reason", list(ShortfallReason))
def test_a_shortfall_keeps_number_and_reason(reason: ShortfallReason) -> None:
    shortfall = answer(candidates(1, Shortfall(4, reason))).shortfall
    assert shortfall.missing_count == 4
    assert common_pb2.ShortfallReason.Name(shortfall.reason) == f"SHORTFALL_REASON_{reason.name}"


def test_ranks_are_sent_by_source() -> None:
    ranks = {
        Source.USER_VECTOR: np.array([1, 2, 0], np.uint32),
        Source.REPRESENTATIVES: np.array([0, 0, 1999], np.uint32),
    }
    sent = answer(replace(candidates(3), source_ranks=ranks)).candidates.source_ranks
    assert [(entry.source, list(entry.ranks)) for entry in sent] == [(1, [1, 2, 0]), (9, [0, 0, 1999])]


def test_parts_of_the_history_are_sent_when_there_are_any_by_shards_too() -> None:
    weights = np.array([0.75, 0.25], np.float32)
    assert list(answer(replace(candidates(3), history_weights=weights)).history_weights) == [0.75, 0.25]
    assert not answer(candidates(3)).history_weights
    sent = retrieval_pb2.RetrieveResponse()
    write_gathered(sent, Gathered([], 9, 9, {}, history_weights=weights), Shard(1, 2), 0.25)
    assert list(sent.history_weights) == [0.75, 0.25]


def test_similar_items_arrive_as_they_were_sent() -> None:
    given = candidates(40, Shortfall(2, ShortfallReason.EXCLUDED))
    sent = similar_response_of(given, generation=7, resolve_ms=0.25)
    response = retrieval_pb2.RetrievalServiceSimilarItemsResponse.FromString(sent.SerializeToString())
    assert list(response.items.rows) == given.rows.tolist()
    assert list(response.items.scores) == given.scores.tolist()
    assert list(response.items.sources) == given.sources.tolist()
    assert (response.generation, response.shortfall.missing_count) == (7, 2)
    assert [timing.stage for timing in response.timings] == ["resolve", "search"]


def test_lists_arrive_as_they_were_sent() -> None:
    rows = np.array([3, 70_000, 5], np.uint32)
    keys, codes, scores = (np.array(numbers, np.float32) for numbers in ([3, 2, 1], [0.5, 0, -1], [0, 0.25, 0]))
    searched = SourceList(Source.NEIGHBOURS, rows, scores, 9, keys, codes, 18, 2)
    shared = SourceList(Source.POPULAR, rows[:0], scores[:0], 500)
    sent = retrieval_pb2.RetrieveResponse(generation=7)
    gathered = Gathered([searched, shared], item_count=90_000, allowed_count=80_000, timings_ms={"search": 0.5})
    write_gathered(sent, gathered, Shard(1, 4), 0.25)
    response = retrieval_pb2.RetrieveResponse.FromString(sent.SerializeToString())
    first, second = response.lists
    assert (first.source, first.group, first.wanted_count, first.pool_count) == (6, 2, 9, 18)
    assert (list(first.rows), list(first.keys), list(first.code_keys), list(first.scores)) == (
        rows.tolist(),
        keys.tolist(),
        codes.tolist(),
        scores.tolist(),
    )
    assert (second.source, second.group, second.wanted_count, second.pool_count) == (2, 0, 500, 0)
    assert not second.rows
    assert not second.keys
    assert (response.allowed_count, response.answered_shard.index, response.answered_shard.count) == (80_000, 1, 4)
    assert [timing.stage for timing in response.timings] == ["resolve", "search"]


def test_sources_have_the_bits_that_the_contract_names() -> None:
    for source in Source:
        number = retrieval_pb2.Source.Value(f"SOURCE_{source.name}")
        assert 1 << (number - 1) == source
