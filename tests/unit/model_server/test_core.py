"""Start, reload and labels, with real models."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import model_pb2

from model_server.config import ModelConfig, VersionPolicy
from model_server.core import Core
from model_server.errors import ServingError
from model_server.lifecycle import Lifecycle, State
from model_server.servable import Servable

_ALL = VersionPolicy(latest_count=None)


class Made:
    """Makes cores and ends them."""

    def __init__(self) -> None:
        self.cores: list[Core] = []

    def __call__(self, *, poll_seconds: float = 0.05, allow_unavailable_labels: bool = False) -> Core:
        lifecycle = Lifecycle(lambda path: Servable(path, config_pb2.ConfigProto()))
        core = Core(lifecycle, poll_seconds=poll_seconds, allow_unavailable_labels=allow_unavailable_labels)
        self.cores.append(core)
        return core


@pytest.fixture
def make() -> Iterator[Made]:
    made = Made()
    yield made
    for core in made.cores:
        core.stop()


@pytest.fixture
def disk(model: Path, tmp_path: Path) -> SimpleNamespace:
    """Base paths: one with versions 1 and 2, one broken, one empty."""
    for version in ("1", "2"):
        shutil.copytree(model, tmp_path / "good" / version)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    return SimpleNamespace(good=tmp_path / "good", broken=tmp_path / "broken", empty=tmp_path / "empty")


def _models(*models: ModelConfig) -> dict[str, ModelConfig]:
    return {model.name: model for model in models}


def _labelled(base: Path, **labels: int) -> ModelConfig:
    return ModelConfig("m", base, _ALL, MappingProxyType(labels))


def _answering(core: Core, **spec: Any) -> int:
    with core.acquire(model_pb2.ModelSpec(**spec)) as (version, _):
        return version


def test_a_start_waits_for_a_version_to_appear(make: Made, disk: SimpleNamespace, model: Path) -> None:
    core = make()
    timer = threading.Timer(0.3, lambda: shutil.copytree(model, disk.empty / "7.tmp").rename(disk.empty / "7"))
    timer.start()
    assert core.start(_models(ModelConfig("m", disk.empty)))
    assert _answering(core, name="m") == 7


def test_a_start_that_waits_for_ever_can_be_stopped(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    threading.Timer(0.1, core.request_stop).start()
    assert not core.start(_models(ModelConfig("m", disk.empty / "none")))


def test_a_start_with_a_broken_model_fails_with_its_reason(make: Made, disk: SimpleNamespace) -> None:
    with pytest.raises(ServingError) as raised:
        make().start(_models(ModelConfig("m", disk.good), ModelConfig("bad", disk.broken)))
    assert str(raised.value).startswith(
        "UNKNOWN: 1 servable(s) did not become available: {{{name: bad version: 1} due to error: NOT_FOUND: Specified"
    )
    assert str(raised.value).endswith("}, }")


def _reach(core: Core, *versions: int) -> None:
    deadline = time.monotonic() + 10
    while {one.version for one in core.versions("m") if one.state is State.AVAILABLE} != set(versions):
        assert time.monotonic() < deadline, core.versions("m")
        time.sleep(0.01)


def test_labels_lead_to_their_versions(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    core.start(_models(_labelled(disk.good)))
    _reach(core, 1, 2)
    core.reload(_models(_labelled(disk.good, stable=1, canary=2)))
    assert _answering(core, name="m", version_label="stable") == 1
    assert _answering(core, name="m", version_label="canary") == 2
    core.reload(_models(_labelled(disk.good, stable=2)))
    assert _answering(core, name="m", version_label="stable") == 2
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        _answering(core, name="m", version_label="canary")


def test_a_refused_label_refuses_the_whole_configuration(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    core.start(_models(_labelled(disk.good)))
    _reach(core, 1, 2)
    core.reload(_models(_labelled(disk.good, stable=1)))
    only_two = ModelConfig("m", disk.good, VersionPolicy(None, frozenset({2})), MappingProxyType({"stable": 9}))
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: Request to assign label to version 9 of model m, "):
        core.reload(_models(only_two, ModelConfig("n", disk.good)))
    assert _answering(core, name="m", version_label="stable") == 1
    assert _answering(core, name="m", version=Int64Value(value=1)) == 1
    assert core.versions("n") == []


def test_a_label_stays_at_a_version_that_goes_and_may_not_be_given_to_it_again(
    make: Made, disk: SimpleNamespace
) -> None:
    core = make()
    core.start(_models(_labelled(disk.good)))
    _reach(core, 1, 2)
    core.reload(_models(_labelled(disk.good, stable=1)))
    shutil.rmtree(disk.good / "1")
    _reach(core, 2)
    with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(m, 1\)"):
        _answering(core, name="m", version_label="stable")
    with pytest.raises(ServingError, match="label to version 1"):
        core.reload(_models(_labelled(disk.good, stable=1)))


def test_labels_at_the_start_need_the_allowance_because_nothing_is_loaded_yet(
    make: Made, disk: SimpleNamespace
) -> None:
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: Request to assign label to version 1"):
        make().start(_models(_labelled(disk.good, stable=1)))


def test_where_allowed_a_new_label_may_wait_for_its_version_and_an_old_one_may_not(
    make: Made, disk: SimpleNamespace
) -> None:
    core = make(allow_unavailable_labels=True)
    core.start(_models(_labelled(disk.good, stable=1, next=9)))
    with pytest.raises(ServingError, match=r"Specific\(m, 9\)"):
        _answering(core, name="m", version_label="next")
    with pytest.raises(ServingError, match="label to version 9"):
        core.reload(_models(_labelled(disk.good, stable=9)))
    core.reload(_models(_labelled(disk.good, stable=1, next=9)))


def test_a_refused_platform_leaves_no_trace(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    core.start(_models(ModelConfig("m", disk.good)))
    with pytest.raises(ServingError, match="Model n requests unsupported platform onnx"):
        core.reload(_models(ModelConfig("m", disk.good), ModelConfig("n", disk.good, platform="onnx")))
    with pytest.raises(ServingError, match="For model m platform was tensorflow and new platform requested is onnx"):
        core.reload(_models(ModelConfig("m", disk.good, platform="onnx")))
    core.reload(_models(ModelConfig("m", disk.good), ModelConfig("n", disk.good)))
    assert _answering(core, name="n") == 2


def test_a_broken_newest_version_fails_the_start_beside_a_good_one(make: Made, disk: SimpleNamespace) -> None:
    (disk.good / "3").mkdir()
    with pytest.raises(ServingError, match=r"UNKNOWN: 1 servable\(s\) did not become available: .* version: 3"):
        make().start(_models(ModelConfig("m", disk.good, _ALL)))


def test_a_model_that_is_dropped_and_added_again_answers_on_return(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    core.start(_models(ModelConfig("m", disk.good)))
    for _ in range(5):
        core.reload({})
        core.reload(_models(ModelConfig("m", disk.good)))
        assert _answering(core, name="m") == 2


def test_a_reload_adds_and_removes_models(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    core.start(_models(ModelConfig("m", disk.good)))
    core.reload(_models(ModelConfig("n", disk.good, _ALL)))
    assert _answering(core, name="n") == 2
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        _answering(core, name="m")
    assert core.versions("m")[0].state in (State.UNLOADING, State.END)


@pytest.mark.parametrize("base", ["empty", "broken", "none"])
def test_a_reload_with_a_model_that_cannot_be_served_fails_at_once_and_keeps_the_others(
    make: Made, disk: SimpleNamespace, base: str
) -> None:
    core = make()
    core.start(_models(ModelConfig("m", disk.good)))
    added = ModelConfig("new", disk.good.parent / base)
    with pytest.raises(ServingError, match=r"UNKNOWN: 1 model\(s\) did not become available: \{\{\{name: new"):
        core.reload(_models(ModelConfig("m", disk.good), added))
    assert _answering(core, name="m") == 2


def test_one_missing_base_path_holds_back_no_other_model(make: Made, disk: SimpleNamespace, model: Path) -> None:
    core = make()
    core.start(_models(ModelConfig("first", disk.good), ModelConfig("second", disk.good)))
    moved = disk.good.parent / "moved"
    shutil.copytree(disk.good, moved)
    core.reload(_models(ModelConfig("first", disk.good), ModelConfig("second", moved)))
    # At once: a base path that is being emptied holds fewer and fewer versions first.
    disk.good.rename(disk.good.parent / "gone")
    shutil.copytree(model, moved.parent / "3.tmp").rename(moved / "3")
    deadline = threading.Event()
    for _ in range(200):
        if _answering(core, name="second") == 3:
            break
        deadline.wait(0.05)
    assert _answering(core, name="second") == 3
    assert _answering(core, name="first") == 2


def test_a_base_path_that_no_file_can_have_holds_back_no_other_model(make: Made, disk: SimpleNamespace) -> None:
    core = make()
    core.start({})
    impossible = ModelConfig("a", Path("/a\0b"))
    with pytest.raises(ServingError, match=r"1 model\(s\) did not become available: .*name: a}"):
        core.reload(_models(impossible, ModelConfig("m", disk.good)))
    assert _answering(core, name="m") == 2
