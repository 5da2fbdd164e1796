from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bundles import make_store
from tests.sharded_store import make_sharded_store
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.store import Store
from twostage.processes import ChildFailedError, ServiceProcess
from twostage.stack import Ports, Stack


def test_free_ports_are_distinct() -> None:
    ports = Ports.free(shard_count=3)
    assert len({ports.gateway, ports.retrieval, ports.ranking, ports.model_server, *ports.shards}) == 7


@contextmanager
def stack_of(store: Store, said: list[str], *, ports: Ports | None = None, by_shard: bool = False) -> Iterator[Stack]:
    users = store.path / "users.sqlite"
    stack = Stack(
        store,
        ports=ports or Ports.free(),
        users=users,
        on_line=lambda *_: None,
        say=said.append,
        by_shard=by_shard,
    )
    try:
        yield stack
    finally:
        stack.stop()


def test_a_model_with_a_flipped_byte_is_named_before_anything_starts(tmp_path: Path) -> None:
    store = make_store(tmp_path, with_models=True)
    with stack_of(store, []):
        pass
    (weights,) = store.models_path.rglob("variables.data-*")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleCorrupt, match=r"variables\.data"), stack_of(store, []):
        pass


def test_an_earlier_generation_that_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    store = make_store(tmp_path, with_models=True)
    make_store(tmp_path, with_models=True)
    said: list[str] = []
    with stack_of(store, said) as stack:
        assert "versions: 1 versions: 2" in config_of(stack)
    manifest = store.generations_path / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"item_count"', '"item_Count"', 1))
    with stack_of(store, said) as stack:
        assert "versions: 1 " not in config_of(stack)
    assert len(said) == 1
    assert said[0].startswith("generation 1 is left out")


@pytest.mark.parametrize("half_written", [False, True])
def test_where_current_names_what_is_not_there_the_generation_before_is_served_and_said(
    tmp_path: Path, half_written: bool
) -> None:
    store = make_store(tmp_path, with_models=True)
    if half_written:
        (store.generations_path / "9").mkdir()
    (tmp_path / "CURRENT").write_text("9\n")
    said: list[str] = []
    with stack_of(store, said) as stack:
        assert stack.generation == 1
        assert "versions: 1 " in config_of(stack)
    assert len(said) == 1
    assert said[0].startswith("generation 9 is left out: ")


def test_where_the_current_models_are_damaged_the_generation_before_is_served_and_said(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path, with_models=True)
    make_store(tmp_path, with_models=True)
    (store.models_path / "default" / "2" / "saved_model.pb").unlink()
    said: list[str] = []
    with stack_of(store, said) as stack:
        assert "versions: 1 }" in config_of(stack)
        assert stack.generation == 1
    assert said[0].startswith("generation 2 is left out")
    assert "saved_model.pb" in said[0]


def config_of(stack: Stack) -> str:
    (flag,) = [part for part in stack.model_server.command if part.startswith("--model_config_file=")]
    return Path(flag.partition("=")[2]).read_text(encoding="utf-8")


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with stack_of(make_store(tmp_path), []) as stack, socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.ports.ranking))
        taken.listen()
        with pytest.raises(ChildFailedError, match=rf"ranking port {stack.ports.ranking}: Address already in use"):
            stack.start()
        with pytest.raises(ChildFailedError, match="Address already in use"):
            stack.import_histories()
        assert stack.gateway.pid == 0


def test_children_follow_the_store_and_ranking_names_the_model_servers_versions(tmp_path: Path) -> None:
    with stack_of(make_store(tmp_path), []) as stack:
        for child in (*stack.retrieval, stack.ranking, stack.gateway):
            assert flag(child, "--store") == str(tmp_path)
            assert "--generation" not in child.command
        assert f"--model_config_file={flag(stack.ranking, '--model-config-file')}" in stack.model_server.command
        assert "--model_config_file_poll_wait_seconds=1" in stack.model_server.command


def test_json_over_http_is_served_before_the_gateway_where_a_port_is_given(tmp_path: Path) -> None:
    with stack_of(make_store(tmp_path), []) as stack:
        assert "http" not in [child.name for child in stack.children]
    with stack_of(make_store(tmp_path), [], ports=replace(Ports.free(), http=8_080, http_metrics=0)) as stack:
        (http,) = stack.http
        assert stack.children[-1] is http, "it needs the others and stops first"
        assert (flag(http, "--port"), flag(http, "--metrics-port")) == ("8080", "0")
        assert flag(http, "--gateway") == f"127.0.0.1:{stack.ports.gateway}"


def flag(child: ServiceProcess, name: str) -> str:
    return child.command[child.command.index(name) + 1]


def test_one_retrieval_server_holds_all_shards_unless_told_otherwise(tmp_path: Path) -> None:
    with stack_of(make_sharded_store(tmp_path, shard_count=3), []) as stack:
        (retrieval,) = stack.retrieval
        assert retrieval.name == "retrieval"
        assert "--shard" not in retrieval.command
        assert flag(stack.gateway, "--retrieval") == f"127.0.0.1:{stack.ports.retrieval}"


def test_every_shard_gets_a_server_of_its_own_and_the_gateway_knows_them_in_order(tmp_path: Path) -> None:
    ports = Ports.free(shard_count=5)
    with stack_of(make_sharded_store(tmp_path, shard_count=3), [], ports=ports, by_shard=True) as stack:
        assert [child.name for child in stack.retrieval] == ["retrieval 0", "retrieval 1", "retrieval 2"]
        assert [flag(child, "--shard") for child in stack.retrieval] == ["0", "1", "2"]
        assert [flag(child, "--port") for child in stack.retrieval] == [str(port) for port in ports.shards[:3]]
        assert [flag(child, "--metrics-port") for child in stack.retrieval] == ["0", "0", "0"]
        assert flag(stack.gateway, "--retrieval") == ";".join(f"127.0.0.1:{port}" for port in ports.shards[:3])
        assert [child.name for child in stack.children] == [
            *("model server", "retrieval 0", "retrieval 1", "retrieval 2", "ranking", "gateway")
        ]


def test_shards_without_ports_are_refused(tmp_path: Path) -> None:
    store = make_sharded_store(tmp_path, shard_count=3)
    expected = "ports: expected one for each of 3 shards, received 2"
    with (
        pytest.raises(ChildFailedError, match=expected),
        stack_of(store, [], ports=Ports.free(shard_count=2), by_shard=True),
    ):
        pass


def test_an_index_of_one_shard_is_served_as_a_whole(tmp_path: Path) -> None:
    with stack_of(make_store(tmp_path), [], by_shard=True) as stack:
        assert [child.name for child in stack.retrieval] == ["retrieval"]


def test_the_ports_of_shards_are_beside_those_of_the_others() -> None:
    ports = Ports()
    others = {ports.gateway, ports.retrieval, ports.ranking, ports.model_server}
    others |= {ports.gateway_metrics, ports.retrieval_metrics, ports.ranking_metrics}
    assert not others & {*ports.shards, *ports.shard_metrics}
    assert not {*ports.shards} & {*ports.shard_metrics}
