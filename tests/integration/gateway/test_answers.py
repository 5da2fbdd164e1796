from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.bundles import make_catalogue
from tests.integration.gateway.servers import Servers, ids
from twostage.bundle.histories import read_histories
from twostage.client import Client, new_event
from twostage.v1 import common_pb2, gateway_pb2


def test_a_known_person_gets_a_full_answer(servers: Servers, client: Client) -> None:
    response = client.recommend("user-3", count=10, attributes=["tags"], trace=True)
    assert (response.rung, response.rung_reason, response.generation) == (gateway_pb2.RUNG_FULL, "", 1)
    assert len(response.recommendations) == 10
    assert not response.HasField("shortfall")
    scores = [r.score for r in response.recommendations]
    assert scores == sorted(scores, reverse=True)
    person = next(p for p in read_histories(servers.store / "users" / "1") if p.user_id == "user-3")
    assert not set(ids(response)) & set(person.item_ids)
    titles = dict(zip(make_catalogue().item_ids, make_catalogue().titles, strict=True))
    for position, r in enumerate(response.recommendations, start=1):
        assert set(r.action_scores) == {"rated", "liked", "to_read"}
        # The mean of the actions, weighted as the bundle's blend says.
        blended = 0.5 * r.action_scores["rated"] + r.action_scores["liked"] + 0.25 * r.action_scores["to_read"]
        assert r.score == pytest.approx(blended / 1.75, rel=1e-5)
        assert r.title == titles[r.item_id]
        assert r.attributes["tags"]
        assert r.sources
        assert r.candidate_rank >= 1
        assert (r.trace.final_rank, r.trace.ranking_rank) == (position, position)
        assert r.trace.retrieval_rank >= 1
        assert set(r.trace.source_ranks) == set(r.sources)
        assert min(r.trace.source_ranks.values()) >= 1
    stages = [timing.stage for timing in response.timings]
    assert stages[:2] == ["user", "retrieval"]
    assert {"retrieval.search", "ranking", "ranking.model_server"} <= set(stages)
    assert len(stages) == len(set(stages)), "every step has a name of its own"
    calls = {timing.stage: timing for timing in response.timings}
    assert all(calls[stage].transport_ms > 0 and calls[stage].compute_ms > 0 for stage in ("retrieval", "ranking"))


@pytest.mark.parametrize("user_id", ["", "nobody-knows", "ünknown"])
def test_an_unknown_person_gets_a_cold_start_answer(client: Client, user_id: str) -> None:
    response = client.recommend(user_id)
    assert response.rung == gateway_pb2.RUNG_FULL
    assert len(response.recommendations) == 20


def test_a_history_in_the_request_decides_and_counts_as_seen(client: Client) -> None:
    catalogue = make_catalogue()
    mine = [catalogue.item_ids[row] for row in np.flatnonzero(catalogue.clusters == 2)[:4]]
    response = client.recommend("user-3", recent_item_ids=[*mine, "nothing-like-it"], count=10, trace=True)
    assert response.unknown_item_count == 1
    assert not set(ids(response)) & set(mine)
    # The candidates nearest to a history of one cluster are of that cluster.
    nearest = min(response.recommendations, key=lambda r: r.trace.retrieval_rank)
    assert catalogue.clusters[catalogue.item_ids.index(nearest.item_id)] == 2
    assert set(ids(client.recommend(recent_item_ids=mine, count=200, include_seen=True))) >= set(mine)


def test_exclusions_filters_and_what_is_missing(client: Client) -> None:
    catalogue = make_catalogue()
    french = {i for i, languages in zip(catalogue.item_ids, catalogue.languages, strict=True) if languages == ["fre"]}
    excluded = sorted(french)[:3]
    condition_filter = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["fre"])])
    response = client.recommend(condition_filter=condition_filter, exclude_item_ids=[*excluded, "nix"], count=100)
    assert set(ids(response)) == french - set(excluded)
    assert len(ids(response)) + response.shortfall.missing_count == 100
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_EXCLUDED

    nothing = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["none such"])])
    response = client.recommend(condition_filter=nothing)
    assert (len(response.recommendations), response.shortfall.missing_count) == (0, 20)
    assert (response.rung, response.shortfall.reason) == (gateway_pb2.RUNG_FULL, common_pb2.SHORTFALL_REASON_EXCLUDED)


def test_interest_tags_speak_for_a_person_without_a_history(client: Client) -> None:
    response = client.recommend(interest_tags=["poetry"], count=50)
    tagged = {r.item_id for r in response.recommendations if "interest_tags" in r.sources}
    catalogue = make_catalogue()
    assert tagged
    assert all("poetry" in catalogue.tags[catalogue.item_ids.index(item_id)] for item_id in tagged)


def test_many_callers_at_once_are_all_answered(client: Client) -> None:
    def ask(number: int) -> int:
        person = f"caller-{number % 20}"
        item = f"item-{1 + number % 15}"
        assert client.record([new_event(person, item, "to_read", event_id=f"many-{number}")]).accepted_count == 1
        response = client.recommend(person, count=10)
        assert item not in ids(response)
        return len(response.recommendations)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(120))) == [10] * 120


def test_diversity_reaches_ranking(client: Client) -> None:
    cap = common_pb2.Cap(attribute="language", max_count=2)
    response = client.recommend("user-3", count=20, diversity=common_pb2.Diversity(caps=[cap]), attributes=["language"])
    languages = [r.attributes["language"] for r in response.recommendations]
    assert max(languages.count(language) for language in set(languages)) == 2
    assert len(languages) + response.shortfall.missing_count == 20
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_SELECTION_POLICY


def test_a_recorded_event_is_seen_by_the_next_request(client: Client) -> None:
    first = client.recommend("new-person", count=10)
    best = first.recommendations[0].item_id
    events = [
        new_event("new-person", best, "rated", value=2.0, event_id="n1", request_id=first.request_id),
        new_event("new-person", "nix", "rated", event_id="n2"),
        new_event("new-person", best, "rated", value=2.0, event_id="n1"),
    ]
    recorded = client.record(events)
    assert recorded.accepted_count == 2
    assert [(r.index, r.event_id) for r in recorded.rejected] == [(1, "n2")]
    assert "item_id: expected an item of generation 1" in recorded.rejected[0].reason
    assert best not in ids(client.recommend("new-person", count=200))
    assert best in ids(client.recommend("new-person", count=200, include_seen=True))
