from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.protobuf import text_format

from tests.bundles import make_store
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.store import Store
from twostage.processes import ChildFailedError
from twostage.stack import Ports, Stack, model_config
from twostage.tfserving import messages


def test_the_model_server_is_told_named_versions_and_absolute_paths(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" störe'
    store = make_store(folder)
    number = store.current()
    config = messages.message_class("tensorflow.serving.ModelServerConfig")()
    text_format.Parse(model_config(store, [number]), config)
    (entry,) = config.model_config_list.config
    assert entry.name == store.open().manifest.ranker.model
    assert entry.base_path == str((folder / "models" / entry.name).resolve())
    assert list(entry.model_version_policy.specific.versions) == [number]


def test_free_ports_are_distinct() -> None:
    ports = Ports.free()
    assert len({ports.gateway, ports.retrieval, ports.ranking, ports.model_server}) == 4


@contextmanager
def stack_of(store: Store, said: list[str]) -> Iterator[Stack]:
    users = store.path / "users.sqlite"
    stack = Stack(store, ports=Ports.free(), users=users, on_line=lambda *_: None, say=said.append)
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
    store = make_store(tmp_path)
    make_store(tmp_path)
    said: list[str] = []
    with stack_of(store, said) as stack:
        assert f"versions: 1 versions: {store.current()}" in config_of(stack)
    manifest = store.generations_path / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"item_count"', '"item_Count"', 1))
    with stack_of(store, said) as stack:
        assert "versions: 1 " not in config_of(stack)
    assert len(said) == 1
    assert said[0].startswith("generation 1 is left out")


def config_of(stack: Stack) -> str:
    (flag,) = [part for part in stack.model_server.command if part.startswith("--model_config_file=")]
    return Path(flag.partition("=")[2]).read_text(encoding="utf-8")


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with stack_of(make_store(tmp_path), []) as stack, socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.ports.ranking))
        taken.listen()
        with pytest.raises(ChildFailedError, match=rf"ranking port {stack.ports.ranking}: Address already in use"):
            stack.start()
        assert stack.gateway.pid == 0


def test_every_child_is_pinned_to_the_generation_that_was_current(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with stack_of(store, []) as stack:
        make_store(tmp_path)
        assert store.current() == 2
        for child in (stack.retrieval, stack.ranking, stack.gateway):
            position = child.command.index("--generation")
            assert child.command[position + 1] == "1"
