"""A gateway without stages, which popular items answer for, before each user store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from gateway.server import build
from gateway.settings import GatewaySettings
from gateway.users.import_histories import import_histories
from tests.contract.user_store.stores import Place, place
from tests.integration.gateway.servers import ids
from tests.ports import free_port
from tests.redis_server import MISSING, RedisServer
from tests.unit.gateway.catalogue import publish_items
from tests.unit.gateway.users.histories import write
from twostage.client import Client, InvalidRequest, NotFound, new_event

ITEM_COUNT = 60


@dataclass
class Running:
    client: Client
    users: Place
    registry: CollectorRegistry


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if request.param == "redis" and MISSING:
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("people")
    store = folder / "store"
    publish_items(store, popularity=[float(ITEM_COUNT - row) for row in range(ITEM_COUNT)])
    histories = write(folder / "histories", {"user-0": [(3, "rated", 5.0, 10), (4, "to_read", float("nan"), 20)]})
    nobody = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer()) if request.param == "redis" else None
        users = stack.enter_context(place(request.param, folder, redis))
        import_histories(users.location, histories)
        registry = CollectorRegistry()
        settings = GatewaySettings(
            store=store,
            users=users.location,
            users_ttl_days=3,
            # Patience: nothing here is about time.
            users_timeout_ms=10_000,
            retrieval=nobody,
            ranking=nobody,
            port=0,
            metrics_port=0,
            log_level="WARNING",
        )
        server, load = build(settings, registry=registry)
        stack.enter_context(server)
        load()
        server.set_serving()
        client = stack.enter_context(Client(server.address, timeout_seconds=10))
        yield Running(client, users, registry)


def test_what_somebody_does_is_shown_and_removed_for_good(running: Running) -> None:
    client = running.client
    fresh = ids(client.recommend("eve-the-visitor", count=10))
    events = [new_event("eve-the-visitor", item_id, "rated", value=5.0, request_id="r") for item_id in fresh[:3]]
    assert client.record(events).accepted_count == 3
    assert client.record(events).accepted_count == 3
    assert not set(ids(client.recommend("eve-the-visitor", count=10))) & set(fresh[:3])
    shown = client.get_user("eve-the-visitor")
    assert shown.event_count == 3
    assert abs(shown.expire_time.seconds - events[0].time.seconds - 3 * 86_400) < 60
    assert [event.item_id for event in shown.events] == fresh[2::-1]
    assert [event.event_id for event in shown.events] == [event.event_id for event in reversed(events)]
    assert len(client.get_user("eve-the-visitor", max_event_count=1).events) == 1
    assert b"eve-the-visitor" in running.users.content()

    assert client.delete_user("eve-the-visitor").deleted_event_count == 3
    with pytest.raises(NotFound) as gone:
        client.get_user("eve-the-visitor")
    assert gone.value.reason == "USER_NOT_FOUND"
    with pytest.raises(NotFound):
        client.delete_user("eve-the-visitor")
    assert ids(client.recommend("eve-the-visitor", count=10)) == fresh
    assert b"eve-the-visitor" not in running.users.content()


def test_an_imported_person_is_shown_without_names_of_events(running: Running) -> None:
    known = running.client.get_user("user-0", max_event_count=2)
    assert known.event_count == 2
    assert [(event.event_id, event.item_id, event.action) for event in known.events] == [
        ("", "i4", "to_read"),
        ("", "i3", "rated"),
    ]
    assert [event.HasField("value") for event in known.events] == [False, True]


def test_what_is_out_of_bounds_is_refused(running: Running) -> None:
    with pytest.raises(InvalidRequest, match="user_id: expected 1 to 256 bytes"):
        running.client.get_user("")
    with pytest.raises(InvalidRequest, match="max_event_count: expected 0 to 10000"):
        running.client.get_user("user-0", max_event_count=10_001)
    with pytest.raises(InvalidRequest, match="user_id: expected 1 to 256 bytes"):
        running.client.delete_user("x" * 257)


def test_one_bad_event_of_a_batch_is_rejected_and_the_others_are_stored(running: Running) -> None:
    events = [new_event("max", "i0", "rated", value=4.0), new_event("max", "no such item", "rated")]
    response = running.client.record(events)
    assert (response.accepted_count, [each.index for each in response.rejected]) == (1, [1])
    assert running.client.get_user("max").event_count == 1


def test_trouble_with_the_store_is_counted(running: Running) -> None:
    names = {metric.name for metric in running.registry.collect()}
    assert "twostage_gateway_user_store_not_asked" in names
    assert "twostage_gateway_user_records_unreadable" in names
