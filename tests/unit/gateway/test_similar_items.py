from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.convert import read_similar_request, write_similar_response
from gateway.engine.budget import Budget
from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import Rung, StageLate, StageUnavailable, StageWithoutGeneration
from gateway.engine.response import Shortfall, ShortfallReason, Timing
from gateway.engine.similar import SimilarItem, SimilarRequest, SimilarResponse, SimilarRows
from gateway.engine.stages import SimilarRoute
from gateway.observer import Observer
from gateway.similar_items import SimilarItems
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.errors import InvalidField, ItemNotFound
from twostage.v1 import common_pb2, gateway_pb2

Request = gateway_pb2.RecommendationServiceSimilarItemsRequest
TAGS = [["even" if row % 2 == 0 else "odd"] for row in range(40)]


class Near:
    """Retrieval in this process: answers rows, or fails."""

    def __init__(self, rows: Sequence[int] = (), failure: Exception | None = None) -> None:
        self._rows, self.failure = rows, failure
        self.timeout_seconds = 0.0
        self.generation = 1

    def similar_items(self, request: SimilarRequest, *, generation: int, timeout_seconds: float) -> SimilarRows:
        assert generation == self.generation
        self.timeout_seconds = timeout_seconds
        if self.failure is not None:
            raise self.failure
        rows = np.array(self._rows[: request.count], np.uint32)
        missing = request.count - len(rows)
        shortfall = Shortfall(missing, ShortfallReason.EXCLUDED) if missing else None
        scores = np.linspace(1, 0, len(rows), dtype=np.float32)
        return SimilarRows(rows, scores, shortfall, [Timing("retrieval", 1.0, 0.5)])


class OneWay:
    """Everybody holds one generation."""

    def __init__(self, generation: Generation, near: Near) -> None:
        self._route = SimilarRoute(Catalogue(generation), near)

    def choose(self) -> Any:
        raise NotImplementedError

    def choose_similar(self, item_id: str) -> SimilarRoute:
        del item_id
        return self._route


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[float(row) for row in range(40)], tags=TAGS)


def find(
    generation: Generation, near: Near, request: SimilarRequest, registry: CollectorRegistry | None = None
) -> SimilarResponse:
    observer = Observer(registry if registry is not None else CollectorRegistry())
    return SimilarItems(OneWay(generation, near), observer).find(request, Budget(1.0))


def ids(response: SimilarResponse) -> list[str]:
    return [item.item_id for item in response.items]


def test_what_retrieval_finds_is_named(generation: Generation) -> None:
    near = Near([7, 5, 6])
    response = find(generation, near, SimilarRequest("i1", 3, attributes=["tags"]))
    assert [tuple(item) for item in response.items] == [
        ("i7", 1.0, "Title 7", {"tags": "odd"}),
        ("i5", 0.5, "Title 5", {"tags": "odd"}),
        ("i6", 0.0, "Title 6", {"tags": "even"}),
    ]
    assert (response.rung, response.rung_reason, response.generation) == (Rung.FULL, "", 1)
    assert (response.shortfall, len(response.request_id)) == (None, 32)
    assert response.timings == [Timing("retrieval", 1.0, 0.5)]
    # Nothing is kept for ranking.
    assert 0.9 < near.timeout_seconds < 1.0


def test_without_retrieval_popular_items_that_pass_filter_and_exclusions_answer(generation: Generation) -> None:
    request = SimilarRequest(
        "i39", 25, Filter((Condition("tags", any_of=("odd",)),)), exclude_item_ids=["i37", "unheard of"]
    )
    response = find(generation, Near(failure=StageLate("retrieval", "slow")), request)
    assert ids(response) == [f"i{row}" for row in range(35, 0, -2)]
    assert [item.score for item in response.items] == [float(row) for row in range(35, 0, -2)]
    assert (response.rung, response.rung_reason) == (Rung.POPULAR, "retrieval late: slow")
    assert response.shortfall == Shortfall(7, ShortfallReason.EXCLUDED)
    assert response.timings == ()


def test_the_item_itself_is_not_counted_among_those_that_could_be_found(generation: Generation) -> None:
    near = Near(failure=StageLate("retrieval", "slow"))
    assert find(generation, near, SimilarRequest("i1", 39)).shortfall is None
    response = find(generation, near, SimilarRequest("i1", 40))
    assert response.shortfall == Shortfall(1, ShortfallReason.CATALOGUE_TOO_SMALL)


@pytest.mark.parametrize("failure", [None, StageUnavailable("retrieval", "gone")])
def test_an_item_that_is_not_there_is_not_found_whether_or_not_retrieval_answers(
    generation: Generation, failure: Exception | None
) -> None:
    with pytest.raises(ItemNotFound):
        find(generation, Near(failure=failure), SimilarRequest("nix"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filter": Filter((Condition("nope"),))}, r"filter\.conditions\[0\]\.attribute"),
        ({"attributes": ["tags", "nope"]}, r"attributes\[1\]"),
    ],
)
def test_attributes_that_are_not_there_are_refused(generation: Generation, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField, match=f"{field}: expected one of tags, year"):
        find(generation, Near(), SimilarRequest("i1", **fields))


def test_what_retrieval_refuses_reaches_the_caller(generation: Generation) -> None:
    with pytest.raises(InvalidField, match="range"):
        find(generation, Near(failure=InvalidField("range", "values", "a range")), SimilarRequest("i1"))


def test_rungs_and_failures_are_counted(generation: Generation) -> None:
    registry = CollectorRegistry()
    observer = Observer(registry)
    near = Near([2])
    failing = Near(failure=StageLate("retrieval", "slow"))
    for each in (near, failing):
        SimilarItems(OneWay(generation, each), observer).find(SimilarRequest("i1"), Budget(1.0))
    sample = registry.get_sample_value
    assert sample("twostage_gateway_similar_items_total", {"rung": "FULL"}) == 1
    assert sample("twostage_gateway_similar_items_total", {"rung": "POPULAR"}) == 1
    assert sample("twostage_gateway_stage_failures_total", {"stage": "retrieval", "kind": "late"}) == 1
    assert sample("twostage_gateway_recommendations_total", {"rung": "FULL"}) == 0


@given(
    item=st.integers(0, 39),
    count=st.integers(1, 200),
    excluded=st.lists(st.integers(0, 45), max_size=45),
    odd=st.booleans(),
)
def test_popular_items_and_what_is_missing_are_what_was_asked_for(
    generation: Generation, item: int, count: int, excluded: list[int], odd: bool
) -> None:
    request = SimilarRequest(
        f"i{item}",
        count,
        Filter((Condition("tags", any_of=("odd",)),)) if odd else Filter(),
        [f"i{row}" for row in excluded],
    )
    response = find(generation, Near(failure=StageLate("retrieval", "slow")), request)
    allowed = [f"i{row}" for row in range(39, -1, -1) if row not in {item, *excluded} and (row % 2 or not odd)]
    assert ids(response) == allowed[:count]
    missing = response.shortfall.missing_count if response.shortfall is not None else 0
    assert len(response.items) + missing == count


def condition(**fields: Any) -> gateway_pb2.RecommendationServiceSimilarItemsRequest:
    return Request(item_id="a", filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="a", **fields)]))


BAD: list[tuple[gateway_pb2.RecommendationServiceSimilarItemsRequest, str]] = [
    (Request(), "item_id: expected 1 to 256 bytes of UTF-8, received ''"),
    (Request(item_id="ü" * 129), "item_id: expected 1 to 256 bytes"),
    (Request(item_id="a", count=0), "count: expected 1 to 200, received 0"),
    (Request(item_id="a", count=-1), "count: expected 1 to 200, received -1"),
    (Request(item_id="a", count=201), "count: expected 1 to 200, received 201"),
    (Request(item_id="a", exclude_item_ids=["a"] * 10_001), "exclude_item_ids: expected at most 10000 entries"),
    (Request(item_id="a", exclude_item_ids=["b", ""]), "exclude_item_ids[1]: expected 1 to 256 bytes"),
    (Request(item_id="a", attributes=["a"] * 33), "attributes: expected at most 32 entries"),
    (Request(item_id="a", attributes=["x" * 129]), "attributes[0]: expected 0 to 128 bytes"),
    (condition(any_of=["a"] * 1001), "filter.conditions[0].any_of: expected at most 1000 entries"),
    (condition(range=common_pb2.Range(min=2, max=1)), "filter.conditions[0].range.max: expected at least min, 2"),
]


@pytest.mark.parametrize(("message", "expected"), BAD, ids=[expected.split(",")[0] for _, expected in BAD])
def test_a_field_beyond_its_bound_is_named(
    message: gateway_pb2.RecommendationServiceSimilarItemsRequest, expected: str
) -> None:
    with pytest.raises(InvalidField, match=re.escape(expected)):
        read_similar_request(message)


def test_every_field_arrives_and_twenty_is_the_count_that_is_not_stated() -> None:
    assert read_similar_request(Request(item_id="a")) == SimilarRequest("a", 20, Filter(), [], [])
    message = condition(any_of=["x"])
    message.MergeFrom(Request(count=200, exclude_item_ids=["é" * 128] * 10_000, attributes=["x" * 128] * 32))
    assert read_similar_request(message) == SimilarRequest(
        "a", 200, Filter((Condition("a", ("x",)),)), ["é" * 128] * 10_000, ["x" * 128] * 32
    )


def test_an_answer_is_written_whole() -> None:
    message = write_similar_response(
        SimilarResponse(
            "r",
            [SimilarItem("a", 0.5, "A", {"tags": "x"}), SimilarItem("b", 0.25, "", {})],
            Shortfall(3, ShortfallReason.EXCLUDED),
            4,
            Rung.POPULAR,
            "why",
            [Timing("retrieval", 1.5, 0.5)],
        )
    )
    first, second = message.items
    assert (first.item_id, first.score, first.title, dict(first.attributes)) == ("a", 0.5, "A", {"tags": "x"})
    assert (second.item_id, second.title, dict(second.attributes)) == ("b", "", {})
    assert (message.shortfall.missing_count, message.shortfall.reason) == (3, common_pb2.SHORTFALL_REASON_EXCLUDED)
    assert (message.request_id, message.generation, message.rung_reason) == ("r", 4, "why")
    assert message.rung == gateway_pb2.RUNG_POPULAR
    assert (message.timings[0].stage, message.timings[0].transport_ms) == ("retrieval", 0.5)


class Ways(OneWay):
    """One way for the first choice, another for the next."""

    def __init__(self, *ways: tuple[Generation, Near]) -> None:
        self._ways = [SimilarRoute(Catalogue(generation), near) for generation, near in ways]
        self.asked_for: list[str] = []

    def choose_similar(self, item_id: str) -> SimilarRoute:
        self.asked_for.append(item_id)
        return self._ways[min(len(self.asked_for), len(self._ways)) - 1]


def test_retrieval_that_does_not_hold_the_generation_after_all_is_asked_once_more_for_another(
    generation: Generation, tmp_path: Path
) -> None:
    publish_items(tmp_path, popularity=[1.0])
    newer = publish_items(tmp_path, popularity=[1.0] * 2)
    gone = Near(failure=StageWithoutGeneration("retrieval", "generation 2 is not loaded there, held: 1"))
    gone.generation = 2
    registry = CollectorRegistry()
    ways = Ways((newer, gone), (generation, Near([7])))
    response = SimilarItems(ways, Observer(registry)).find(SimilarRequest("i1", 1), Budget(1.0))
    assert (ids(response), response.rung, response.generation) == (["i7"], Rung.FULL, 1)
    assert ways.asked_for == ["i1", "i1"]
    assert registry.get_sample_value("twostage_gateway_asked_again_total", {"stage": "retrieval"}) == 1

    # The other one lacks the item: the popular ones of the first answer.
    ways = Ways((generation, Near(failure=gone.failure)), (newer, gone))
    response = SimilarItems(ways, Observer(CollectorRegistry())).find(SimilarRequest("i9", 1), Budget(1.0))
    assert (ids(response), response.rung, response.generation) == (["i39"], Rung.POPULAR, 1)
    assert response.rung_reason == "retrieval unavailable: generation 2 is not loaded there, held: 1"
