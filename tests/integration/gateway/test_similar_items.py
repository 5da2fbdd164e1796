from __future__ import annotations

import time

import numpy as np
import pytest

from tests.bundles import make_catalogue
from tests.integration.gateway.servers import Servers, start, stop
from twostage.client import Client, InvalidRequest, NotFound
from twostage.v1 import common_pb2, gateway_pb2

CATALOGUE = make_catalogue()


def nearest(item_id: str, excluded: set[str], languages: set[str]) -> list[tuple[str, float]]:
    """All items that may be answered, by brute force, the nearest first."""
    scores = CATALOGUE.vectors @ CATALOGUE.vectors[CATALOGUE.item_ids.index(item_id)]
    return [
        (CATALOGUE.item_ids[row], float(scores[row]))
        for row in np.argsort(-scores, kind="stable").tolist()
        if CATALOGUE.item_ids[row] not in {item_id, *excluded} and CATALOGUE.languages[row][0] in languages
    ]


def found(response: gateway_pb2.RecommendationServiceSimilarItemsResponse) -> list[str]:
    return [item.item_id for item in response.items]


@pytest.mark.parametrize("item_id", ["item-3", "ítem-17"])
def test_the_nearest_items_come_with_scores_titles_and_attributes(client: Client, item_id: str) -> None:
    response = client.similar_items(item_id, count=30, attributes=["tags", "year"])
    expected = nearest(item_id, set(), {"eng", "fre", "ger", "spa"})[:30]
    assert found(response) == [known for known, _ in expected]
    assert [item.score for item in response.items] == pytest.approx([score for _, score in expected], abs=1e-5)
    assert (response.rung, response.rung_reason, response.generation) == (gateway_pb2.RUNG_FULL, "", 1)
    assert not response.HasField("shortfall")
    for item in response.items:
        row = CATALOGUE.item_ids.index(item.item_id)
        assert item.title == CATALOGUE.titles[row]
        assert item.attributes.get("tags", "") == ", ".join(CATALOGUE.tags[row])
        assert ("year" in item.attributes) == (not np.isnan(CATALOGUE.years[row]))
    stages = [timing.stage for timing in response.timings]
    assert stages[0] == "retrieval"
    assert "retrieval.search" in stages
    assert response.timings[0].compute_ms > 0


def test_twenty_come_when_nothing_is_said(client: Client) -> None:
    assert len(client.similar_items("item-3").items) == 20


def test_filter_and_exclusions_hold_and_what_is_missing_is_stated(client: Client) -> None:
    excluded = [item_id for item_id, _ in nearest("item-3", set(), {"fre"})[:3]]
    french = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["fre"])])
    response = client.similar_items(
        "item-3", count=150, condition_filter=french, exclude_item_ids=[*excluded, "no such item"]
    )
    expected = nearest("item-3", set(excluded), {"fre"})
    assert found(response) == [known for known, _ in expected]
    assert len(expected) + response.shortfall.missing_count == 150
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_EXCLUDED


def test_an_unknown_item_is_not_found_and_bad_fields_are_named(client: Client) -> None:
    with pytest.raises(NotFound, match=r"^item_id: expected an item of the catalogue, received 'nix'$") as caught:
        client.similar_items("nix")
    assert caught.value.reason == "ITEM_NOT_FOUND"
    with pytest.raises(InvalidRequest, match=r"^count: expected 1 to 200, received 0$"):
        client.similar_items("item-3", count=0)
    with pytest.raises(InvalidRequest, match=r"^item_id: expected 1 to 256 bytes of UTF-8, received ''$"):
        client.similar_items("")
    tags_are_no_numbers = common_pb2.Filter(
        conditions=[common_pb2.Condition(attribute="tags", range=common_pb2.Range(min=1))]
    )
    with pytest.raises(InvalidRequest, match=r"filter\.conditions\[0\]\.range: expected any_of or none_of"):
        client.similar_items("item-3", condition_filter=tags_are_no_numbers)


def test_without_retrieval_popular_items_that_pass_answer(servers: Servers, client: Client) -> None:
    order = np.argsort(-CATALOGUE.popularity, kind="stable").tolist()
    popular = [CATALOGUE.item_ids[row] for row in order]
    try:
        stop(servers.retrieval)
        response = client.similar_items(popular[1], count=10, exclude_item_ids=[popular[0]], attributes=["language"])
        with pytest.raises(NotFound):
            client.similar_items("nix")
    finally:
        start(servers.retrieval)
    assert (response.rung, response.rung_reason) == (
        gateway_pb2.RUNG_POPULAR,
        "retrieval unavailable: cannot be reached",
    )
    assert found(response) == popular[2:12]
    assert [item.score for item in response.items] == [CATALOGUE.popularity[row] for row in order[2:12]]
    assert all(item.title and item.attributes["language"] for item in response.items)
    deadline = time.monotonic() + 10
    while client.similar_items("item-3").rung != gateway_pb2.RUNG_FULL:
        assert time.monotonic() < deadline
        time.sleep(0.02)
