from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from retrieval_service.convert import query_of, response_of
from retrieval_service.engine.query import Candidates, Shortfall, ShortfallReason
from twostage.bundle.filters import Condition
from twostage.bundle.generation import Generation
from twostage.bundle.id_table import IdTable
from twostage.candidates.source import Source
from twostage.errors import InvalidField
from twostage.v1 import common_pb2, retrieval_pb2

Request = retrieval_pb2.RetrieveRequest
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
    )
    query = query_of(request, ids)
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
        lambda: quotas((1, 2000), (2, 0), (3, 1), (4, 1)),
        lambda: within(-math.inf, math.inf),
    ],
)
def test_the_bounds_themselves_are_allowed(ids: IdTable, make: Callable[[], Request]) -> None:
    query_of(make(), ids)


def candidates(count: int = 300, shortfall: Shortfall | None = None) -> Candidates:
    generator = np.random.default_rng(0)
    return Candidates(
        rows=generator.integers(0, 200, count).astype(np.uint32),
        scores=generator.normal(size=count).astype(np.float32),
        sources=generator.integers(1, 16, count).astype(np.uint8),
        shortfall=shortfall,
        timings_ms={"search": 0.5},
    )


def answer(given: Candidates, ids: IdTable | None = None) -> retrieval_pb2.RetrieveResponse:
    """As the caller reads it, off the wire."""
    history_rows = np.array([3, 1], np.uint32)
    response = response_of(given, generation=7, history_rows=history_rows, ids=ids, resolve_ms=0.25)
    return retrieval_pb2.RetrieveResponse.FromString(response.SerializeToString())


@pytest.mark.parametrize("count", [0, 1, 31, 32, 127, 128, 2000])
def test_columns_arrive_as_they_were_sent(count: int) -> None:
    given = candidates(count)
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


def test_sources_have_the_bits_that_the_contract_names() -> None:
    for source in Source:
        number = retrieval_pb2.Source.Value(f"SOURCE_{source.name}")
        assert 1 << (number - 1) == source
