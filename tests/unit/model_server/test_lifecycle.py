"""The order in which versions load and unload, with a loader that does as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from model_server.errors import ServingError
from model_server.lifecycle import Lifecycle, State, VersionState
from model_server.servable import Servable
from model_server.transition import Transition


class Loaded:
    """Stands where a loaded model stands; it only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Loader:
    """Loads at once, unless a version is held back or said to be broken."""

    def __init__(self) -> None:
        self.tries: list[str] = []
        self.broken: set[str] = set()
        self.held_back: dict[str, threading.Event] = {}

    def load(self, path: Path) -> Servable:
        self.tries.append(path.name)
        if path.name in self.held_back:
            assert self.held_back[path.name].wait(10)
        if path.name in self.broken:
            raise ServingError(grpc.StatusCode.NOT_FOUND, f"{path} is broken")
        return cast("Servable", Loaded())


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    # Versions are folders of the current one, named by their numbers.
    monkeypatch.chdir(tmp_path)
    return Loader()


def _folder(version: int) -> Path:
    path = Path(str(version))
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def make(loader: Loader) -> Iterator[Callable[..., Lifecycle]]:
    made: list[Lifecycle] = []

    def make_one(**settings: Any) -> Lifecycle:
        made.append(Lifecycle(loader.load, **settings))
        return made[-1]

    yield make_one
    for held in loader.held_back.values():
        held.set()
    for one in made:
        one.stop()


def _aspire(lifecycle: Lifecycle, *versions: int) -> None:
    lifecycle.aspire("m", {version: _folder(version) for version in versions})


def _states(versions: list[VersionState]) -> dict[int, State]:
    return {one.version: one.state for one in versions}


def _reach(lifecycle: Lifecycle, expected: dict[int, State]) -> None:
    reached = lifecycle.wait(lambda versions: _states(versions("m")) == expected, 10)
    assert reached, f"{_states(lifecycle.versions('m'))}, expected {expected}"


def test_the_old_version_serves_until_the_new_one_does(make: Callable[..., Lifecycle], loader: Loader) -> None:
    lifecycle = make()
    loader.held_back["2"] = threading.Event()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    _aspire(lifecycle, 2)
    _reach(lifecycle, {2: State.LOADING, 1: State.AVAILABLE})
    with lifecycle.acquire("m", None) as (number, _):
        assert number == 1
    loader.held_back["2"].set()
    _reach(lifecycle, {2: State.AVAILABLE, 1: State.END})
    with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(m, 1\)"):
        lifecycle.acquire("m", 1).__enter__()


def test_a_version_in_use_is_freed_when_its_last_call_ends(make: Callable[..., Lifecycle]) -> None:
    lifecycle = make()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    with lifecycle.acquire("m", 1) as (_, servable):
        loaded = cast("Loaded", servable)
        _aspire(lifecycle, 2)
        _reach(lifecycle, {2: State.AVAILABLE, 1: State.UNLOADING})
        assert not loaded.closed.wait(0.05)
    assert loaded.closed.wait(10)
    _reach(lifecycle, {2: State.AVAILABLE, 1: State.END})


def test_a_broken_version_ends_with_its_error_and_the_old_one_serves_on(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make()
    loader.broken.add("2")
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    _aspire(lifecycle, 2)
    _reach(lifecycle, {2: State.END, 1: State.AVAILABLE})
    error = lifecycle.versions("m")[0].error
    assert error is not None
    assert (error.number, error.message) == (5, "2 is broken")
    # Aspired all the time it is not tried again; gone and back it is.
    loader.broken.clear()
    _aspire(lifecycle, 2)
    # What the one loading thread does next shows that it had nothing else to do.
    lifecycle.aspire("other", {9: _folder(9)})
    assert lifecycle.wait(lambda versions: _states(versions("other")) == {9: State.AVAILABLE}, 10)
    assert loader.tries == ["1", "2", "9"]
    _aspire(lifecycle, 1)
    _aspire(lifecycle, 2)
    _reach(lifecycle, {2: State.AVAILABLE, 1: State.END})


def test_a_failed_load_is_retried_as_often_as_told_while_others_load(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make(retry_count=2, retry_interval_seconds=0.2)
    loader.broken.add("1")
    begin = time.monotonic()
    _aspire(lifecycle, 1)
    lifecycle.aspire("other", {5: _folder(5)})
    assert lifecycle.wait(lambda versions: _states(versions("other")) == {5: State.AVAILABLE}, 10)
    assert time.monotonic() - begin < 0.35
    _reach(lifecycle, {1: State.END})
    assert loader.tries.count("1") == 3
    assert time.monotonic() - begin >= 0.4


def test_with_nothing_aspired_everything_goes(make: Callable[..., Lifecycle]) -> None:
    lifecycle = make()
    _aspire(lifecycle, 1, 2)
    _reach(lifecycle, {2: State.AVAILABLE, 1: State.AVAILABLE})
    _aspire(lifecycle)
    _reach(lifecycle, {2: State.END, 1: State.END})
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        lifecycle.acquire("m", None).__enter__()


def test_a_version_no_longer_wanted_before_its_turn_is_never_loaded(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make()
    loader.held_back["3"] = threading.Event()
    _aspire(lifecycle, 2, 3)
    _reach(lifecycle, {3: State.LOADING, 2: State.START})
    _aspire(lifecycle, 3)
    loader.held_back["3"].set()
    _reach(lifecycle, {3: State.AVAILABLE, 2: State.END})
    assert loader.tries == ["3"]


def test_a_loader_that_breaks_in_an_unforeseen_way_ends_the_version(
    make: Callable[..., Lifecycle], loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_path: Path) -> Servable:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(loader, "load", load)
    lifecycle = make()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.END})
    assert "ZeroDivisionError: a bug" in str(lifecycle.versions("m")[0].error)


def test_stopping_frees_what_is_loaded(make: Callable[..., Lifecycle]) -> None:
    lifecycle = make()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    with lifecycle.acquire("m", 1) as (_, servable):
        loaded = cast("Loaded", servable)
    lifecycle.stop()
    assert loaded.closed.is_set()
    assert _states(lifecycle.versions("m")) == {1: State.END}


def test_stopping_waits_a_moment_for_a_load_and_not_for_ever(
    make: Callable[..., Lifecycle], loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_server.lifecycle._LAST_LOADS_SECONDS", 0.1)
    loader.held_back["1"] = threading.Event()
    lifecycle = make()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.LOADING})
    assert lifecycle.stop() == 1
    loader.held_back["1"].set()
    _reach(lifecycle, {1: State.END})
    assert lifecycle.stop() == 0


def test_a_version_whose_folder_cannot_be_read_ends_without_having_been_loading(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make()
    Path("55").write_text("a file")
    seen: list[State] = []

    def watch(versions: Callable[[str], list[VersionState]]) -> bool:
        seen.extend(one.state for one in versions("m"))
        return State.END in seen

    lifecycle.aspire("m", {55: Path("55")})
    assert lifecycle.wait(watch, 10)
    assert State.LOADING not in seen
    error = lifecycle.versions("m")[0].error
    assert error is not None
    assert str(error) == (
        "FAILED_PRECONDITION: Error while attempting to reserve resources to load servable {name: m version: 55}: "
        "55; Not a directory"
    )
    assert loader.tries == []


def test_a_folder_that_becomes_readable_is_loaded_by_a_retry(make: Callable[..., Lifecycle]) -> None:
    lifecycle = make(retry_count=5, retry_interval_seconds=0.05)
    lifecycle.aspire("m", {3: Path("3")})
    time.sleep(0.07)
    _folder(3)
    _reach(lifecycle, {3: State.AVAILABLE})


def test_a_version_no_longer_wanted_when_its_load_ends_is_never_made_available(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make()
    loader.held_back["2"] = threading.Event()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    _aspire(lifecycle, 2)
    _reach(lifecycle, {2: State.LOADING, 1: State.AVAILABLE})
    _aspire(lifecycle, 1)
    loader.held_back["2"].set()
    _reach(lifecycle, {2: State.END, 1: State.AVAILABLE})
    assert str(lifecycle.versions("m")[0].error) == "CANCELLED: Loading of servable cancelled"


def test_a_version_asked_for_again_while_it_goes_comes_back(make: Callable[..., Lifecycle], loader: Loader) -> None:
    lifecycle = make()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    with lifecycle.acquire("m", 1):
        _aspire(lifecycle)
        _reach(lifecycle, {1: State.UNLOADING})
        _aspire(lifecycle, 1)
        assert lifecycle.versions("m")[0].aspired
    _reach(lifecycle, {1: State.AVAILABLE})
    assert loader.tries == ["1", "1"]


def test_where_resources_are_preserved_the_old_version_goes_before_the_new_one_loads(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make(transition=Transition.RESOURCES)
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    with lifecycle.acquire("m", 1):
        _aspire(lifecycle, 2)
        _reach(lifecycle, {2: State.START, 1: State.UNLOADING})
        with pytest.raises(ServingError, match=r"Latest\(m\)"):
            lifecycle.acquire("m", None).__enter__()
        assert loader.tries == ["1"]
    _reach(lifecycle, {2: State.AVAILABLE, 1: State.END})


def test_several_old_versions_shrink_to_one_while_the_new_one_loads(
    make: Callable[..., Lifecycle], loader: Loader
) -> None:
    lifecycle = make()
    loader.held_back["3"] = threading.Event()
    _aspire(lifecycle, 1, 2)
    _reach(lifecycle, {2: State.AVAILABLE, 1: State.AVAILABLE})
    _aspire(lifecycle, 3)
    _reach(lifecycle, {3: State.LOADING, 2: State.AVAILABLE, 1: State.END})
    loader.held_back["3"].set()
    _reach(lifecycle, {3: State.AVAILABLE, 2: State.END, 1: State.END})


def test_a_call_that_outlives_the_stop_harms_nobody(make: Callable[..., Lifecycle]) -> None:
    lifecycle = make()
    _aspire(lifecycle, 1)
    _reach(lifecycle, {1: State.AVAILABLE})
    with lifecycle.acquire("m", 1):
        lifecycle.stop()
        assert _states(lifecycle.versions("m")) == {1: State.UNLOADING}
