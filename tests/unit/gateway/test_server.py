from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from gateway.__main__ import main
from gateway.server import build
from gateway.settings import GatewaySettings
from gateway.users.store import UserStoreUnavailable
from tests.logging_state import logging_restored
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.errors import BundleCorrupt, BundleError, GenerationMissing, StoreMissing
from twostage.bundle.store import Store
from twostage.client import Client, GatewayUnavailable, new_event
from twostage.rpc.settings import SettingsError, load_settings
from twostage.v1 import gateway_pb2

NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _logging_as_ever() -> Iterator[None]:
    """A service that was started logs to where standard error was then, which is closed now."""
    with logging_restored():
        yield


def settings(folder: Path, **changed: object) -> GatewaySettings:
    flags = {"store": folder / "store", "users": folder / "users.sqlite", "retrieval": NOWHERE, "ranking": NOWHERE}
    return load_settings(GatewaySettings, {**flags, "port": 0, "metrics_port": 0, **changed})


def prepare(folder: Path, **changed: object) -> None:
    server, load = build(settings(folder, **changed), registry=CollectorRegistry())
    try:
        load()
    finally:
        server.stop(0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "TWOSTAGE_GATEWAY_STORE: expected a value, received none; TWOSTAGE_GATEWAY_USERS: expected a value"),
        (["--candidate-count", "0"], "--candidate-count: expected greater than or equal to 1, received '0'"),
        (["--candidate-count", "2001"], "--candidate-count: expected less than or equal to 2000"),
        (["--ranking", "nowhere"], "--ranking: expected target: expected host:port"),
        (["--retrieval", "a:1;"], "--retrieval: expected target: expected host:port"),
        (["--retrieval", "a:1;b"], "--retrieval: expected target: expected host:port"),
        (["--status-poll-seconds", "0"], "--status-poll-seconds: expected greater than 0, received '0'"),
        (["--generation-poll-seconds", "-1"], "--generation-poll-seconds: expected greater than or equal to 0"),
        (["--generation", "0"], "--generation: expected greater than or equal to 1, received '0'"),
        (["--port", "http"], "--port: expected a valid integer"),
        (["--default-deadline-ms", "-1"], "--default-deadline-ms: expected greater than 0"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ["--store", "s", "--users", "u"] if flags else []
    assert main([*needed, *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gateway: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_variable_is_named_when_the_value_came_from_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TWOSTAGE_GATEWAY_ANSWER_SHARE", "1.5")
    assert main(["--store", "s", "--users", "u"]) == 2
    assert "TWOSTAGE_GATEWAY_ANSWER_SHARE: expected less than 1, received '1.5'" in capsys.readouterr().err


def test_shares_that_leave_retrieval_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is left for retrieval"):
        build(settings(tmp_path, ranking_share=0.9, answer_share=0.2), registry=CollectorRegistry())


def test_a_missing_an_empty_and_a_half_written_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="no such store"):
        prepare(tmp_path)
    (tmp_path / "store").mkdir()
    with pytest.raises(StoreMissing, match="the store is empty"):
        prepare(tmp_path)
    publish_items(tmp_path / "store", popularity=[1.0, 2.0])
    (tmp_path / "store" / "generations" / "1" / "manifest.json").unlink()
    with pytest.raises(BundleCorrupt, match="expected a manifest, found no file"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "name", ["ids.blob.npy", "ids.rows.npy", "titles.offsets.npy", "popular_rows.npy", "attributes/tags/offsets.npy"]
)
def test_one_flipped_byte_in_any_file_of_the_items_is_refused(tmp_path: Path, name: str) -> None:
    publish_items(tmp_path / "store", popularity=[1.0, 2.0])
    path = tmp_path / "store" / "generations" / "1" / "items" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{path.name}: expected sha256"):
        prepare(tmp_path)


def test_a_users_file_that_is_none_is_refused(tmp_path: Path) -> None:
    publish_items(tmp_path / "store", popularity=[1.0, 2.0])
    (tmp_path / "users.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(UserStoreUnavailable, match="expected a user store"):
        prepare(tmp_path)


def test_it_answers_without_any_stage_and_refuses_while_it_loads(tmp_path: Path) -> None:
    publish_items(tmp_path / "store", popularity=[1.0, 3.0, 2.0])
    server, load = build(settings(tmp_path), registry=CollectorRegistry())
    server.start()
    with Client(server.address) as client:
        with pytest.raises(GatewayUnavailable, match="not ready: loading") as caught:
            client.recommend()
        assert caught.value.reason == "NOT_READY"
        status = client.status().status
        assert (status.serving, status.detail) == (False, "loading")

        load()
        server.set_serving()
        response = client.recommend("ann", count=2)
        assert [r.item_id for r in response.recommendations] == ["i1", "i2"]
        assert response.rung == gateway_pb2.RUNG_POPULAR
        assert client.record([new_event("ann", "i1", "to_read")]).accepted_count == 1
        response = client.recommend("ann", count=3)
        assert [r.item_id for r in response.recommendations] == ["i2", "i0"]
        assert response.shortfall.missing_count == 1
        assert client.status().status.generations[0].item_count == 3
    server.stop(0)
    with Client(server.address) as client, pytest.raises(GatewayUnavailable) as gone:
        client.recommend()
    assert gone.value.code is grpc.StatusCode.UNAVAILABLE


def test_every_shard_of_retrieval_has_a_status_of_its_own(tmp_path: Path) -> None:
    server, _ = build(settings(tmp_path, retrieval=f"{NOWHERE};127.0.0.1:2"), registry=CollectorRegistry())
    with server, Client(server.address) as client:
        stages = client.status().stages
    assert [(stage.stage, stage.address) for stage in stages] == [
        ("retrieval shard 0", NOWHERE),
        ("retrieval shard 1", "127.0.0.1:2"),
        ("ranking", NOWHERE),
    ]
    assert all(stage.error.startswith("UNAVAILABLE") for stage in stages)


def test_a_stage_without_replicas_has_a_status_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve: Callable[..., object] = socket.getaddrinfo

    def unresolved(host: str, *arguments: object, **options: object) -> object:
        if host == "ranking":
            raise OSError("no such name")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr("socket.getaddrinfo", unresolved)
    server, _ = build(settings(tmp_path, ranking="dns:///ranking:50052"), registry=CollectorRegistry())
    with server, Client(server.address) as client:
        retrieval, ranking = client.status().stages
    assert (retrieval.stage, retrieval.address) == ("retrieval", NOWHERE)
    assert (ranking.stage, ranking.address, ranking.error) == (
        "ranking",
        "dns:///ranking:50052",
        "no replica was found",
    )


def test_targets_that_are_not_as_many_as_the_shards_are_refused(tmp_path: Path) -> None:
    publish_items(tmp_path / "store", popularity=[1.0, 2.0], shard_count=3)
    expected = "retrieval: expected one target, or 3 by semicolons for the shards of generation 1's index, received 2"
    with pytest.raises(SettingsError, match=expected):
        prepare(tmp_path, retrieval=f"{NOWHERE};127.0.0.1:2")
    prepare(tmp_path, retrieval=f"{NOWHERE};127.0.0.1:2;127.0.0.1:3")
    prepare(tmp_path)


def test_events_that_cannot_be_stored_are_told_and_answers_go_on(tmp_path: Path) -> None:
    publish_items(tmp_path / "store", popularity=[1.0, 3.0, 2.0])
    server, load = build(settings(tmp_path), registry=CollectorRegistry())
    load()
    with server, Client(server.address) as client:
        assert client.record([new_event("ann", "i1", "to_read")]).accepted_count == 1
        # Somebody else's program breaks the file under the running gateway.
        vandal = sqlite3.connect(tmp_path / "users.sqlite")
        vandal.execute("DROP TABLE events")
        vandal.close()
        with pytest.raises(GatewayUnavailable, match="the user store cannot be written, send the events again"):
            client.record([new_event("bob", "i2", "to_read")])
        response = client.recommend("ann", count=3)
        assert len(response.recommendations) == 3
        assert "user store unavailable: answered as for an unknown person" in response.rung_reason


def test_a_pinned_generation_is_answered_from_though_a_newer_one_is_current(tmp_path: Path) -> None:
    publish_items(tmp_path / "store", popularity=[1.0] * 3)
    publish_items(tmp_path / "store", popularity=[1.0] * 4)
    for flags, number in (({}, 2.0), ({"generation": "1"}, 1.0)):
        registry = CollectorRegistry()
        server, load = build(settings(tmp_path, **flags), registry=registry)
        try:
            load()
        finally:
            server.stop(0)
        assert registry.get_sample_value("twostage_generation", {"state": "active"}) == number
    with pytest.raises(GenerationMissing):
        prepare(tmp_path, generation="3")


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.01)


def test_it_follows_the_store_and_refuses_what_is_damaged(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish_items(store, popularity=[1.0, 3.0, 2.0])
    server, load = build(settings(tmp_path, generation_poll_seconds=0.05), registry=CollectorRegistry())
    load()
    with server, Client(server.address) as client:

        def held() -> list[tuple[int, bool]]:
            return [(each.generation, each.active) for each in client.status().status.generations]

        assert client.recommend(count=1).generation == 1
        publish_items(store, popularity=[1.0, 2.0, 3.0, 4.0])
        eventually(lambda: held() == [(2, True), (1, False)])
        response = client.recommend(count=1)
        assert (response.generation, response.recommendations[0].item_id) == (2, "i3")

        # An item that only the generation before has is still taken, and one that only the new one has is too.
        publish_items(store, popularity=[9.0, 1.0])
        eventually(lambda: held() == [(3, True), (2, False)])
        assert client.record([new_event("ann", "i3", "to_read"), new_event("ann", "i1", "rated")]).accepted_count == 2

        publish_items(store, popularity=[1.0] * 5, make_current=False)
        blob = store / "generations" / "4" / "items" / "titles.blob.npy"
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
        Store(store).set_current(4)
        eventually(lambda: len(client.status().status.refused) == 1)
        (refused,) = client.status().status.refused
        assert (refused.generation, "titles.blob.npy: expected sha256" in refused.reason) == (4, True)
        assert client.recommend(count=1).generation == 3

        Store(store).set_current(2)
        eventually(lambda: held() == [(3, False), (2, True)])
        assert client.recommend(count=1).generation == 2


def test_a_generation_with_another_number_of_shards_is_refused_and_the_old_one_answers_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish_items(store, popularity=[1.0, 2.0], shard_count=2)
    targets = f"{NOWHERE};127.0.0.1:2"
    server, load = build(
        settings(tmp_path, retrieval=targets, generation_poll_seconds=0.05), registry=CollectorRegistry()
    )
    load()
    with server, Client(server.address) as client:
        publish_items(store, popularity=[1.0, 2.0], shard_count=3)
        eventually(lambda: len(client.status().status.refused) == 1)
        assert "expected one target, or 3 by semicolons" in client.status().status.refused[0].reason
        assert client.recommend(count=1).generation == 1
