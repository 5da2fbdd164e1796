from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format

from tests.bundles import make_store
from twostage.stack import Ports, model_config
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
