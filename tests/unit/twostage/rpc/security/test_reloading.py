from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import CapturingLogger

from tests.certificates import mount
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.security.reloading import NotYetInForce, Reloaded
from twostage.rpc.settings import SettingsError


class Numbers:
    """Reads a file that holds a number; ``fail`` is raised for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.registry = CollectorRegistry()
        self.metrics = SecurityMetrics(self.registry)
        self.logger: Any = CapturingLogger()
        self.read_count = 0

    def read(self) -> tuple[int, Sequence[Path]]:
        self.read_count += 1
        text = self.path.read_text()
        if not text.isdigit():
            raise SettingsError("number: expected digits, received something else")
        return int(text), (self.path,)

    def open(self, read: Callable[[], tuple[int, Sequence[Path]]] | None = None) -> Reloaded[int]:
        return Reloaded("number", [self.path], read or self.read, self.metrics, self.logger)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"what": "number", **labels})

    @property
    def warnings(self) -> list[Any]:
        return [call for call in self.logger.calls if call.method_name == "warning"]


@pytest.fixture
def numbers(tmp_path: Path) -> Numbers:
    (tmp_path / "number").write_text("1")
    return Numbers(tmp_path / "number")


def put(path: Path, text: str) -> None:
    """Another file in its place, so that no coarse clock of a file system hides the change."""
    aside = path.with_suffix(".aside")
    aside.write_text(text)
    aside.replace(path)


def test_an_unchanged_file_is_not_read_again(numbers: Numbers) -> None:
    reloaded = numbers.open()
    assert [reloaded.look() for _ in range(5)] == [False] * 5
    assert (reloaded.current, reloaded.version, numbers.read_count) == (1, 0, 1)


def test_a_changed_file_is_read_told_and_counted(numbers: Numbers) -> None:
    reloaded = numbers.open()
    heard: list[int] = []
    reloaded.on_change(lambda: heard.append(reloaded.current))
    assert numbers.metric("twostage_reloads_total", outcome="accepted") == 0
    put(numbers.path, "2")
    assert reloaded.look()
    assert (reloaded.current, reloaded.version, heard) == (2, 1, [2])
    assert numbers.metric("twostage_reloads_total", outcome="accepted") == 1


def test_a_broken_file_changes_nothing_and_is_complained_about_once_until_it_is_mended(numbers: Numbers) -> None:
    reloaded = numbers.open()
    put(numbers.path, "nonsense")
    assert [reloaded.look() for _ in range(3)] == [False] * 3
    assert (reloaded.current, reloaded.version) == (1, 0)
    assert len(numbers.warnings) == 1
    assert "expected digits" in numbers.warnings[0].kwargs["reason"]
    assert numbers.metric("twostage_reload_refused") == 1
    assert numbers.metric("twostage_reloads_total", outcome="refused") == 1
    put(numbers.path, "3")
    assert reloaded.look()
    assert reloaded.current == 3
    assert numbers.metric("twostage_reload_refused") == 0


def test_a_defect_of_the_reader_changes_nothing_and_tells_nothing_of_the_file(numbers: Numbers) -> None:
    def read() -> tuple[int, Sequence[Path]]:
        if "secret" in numbers.path.read_text():
            raise KeyError(numbers.path.read_text())
        return numbers.read()

    reloaded = numbers.open(read)
    put(numbers.path, "a secret")
    assert [reloaded.look() for _ in range(3)] == [False] * 3
    assert [call.kwargs["reason"] for call in numbers.warnings] == ["KeyError"]
    assert numbers.metric("twostage_reload_refused") == 1
    put(numbers.path, "2")
    assert reloaded.look()


def test_a_file_that_is_gone_changes_nothing(numbers: Numbers) -> None:
    reloaded = numbers.open()
    numbers.path.unlink()
    assert not reloaded.look()
    assert reloaded.current == 1
    assert "No such file" in numbers.warnings[0].kwargs["reason"]
    put(numbers.path, "1")
    assert reloaded.look()
    assert numbers.metric("twostage_reload_refused") == 0


def test_a_file_that_is_broken_at_the_start_is_refused(numbers: Numbers) -> None:
    numbers.path.write_text("x")
    with pytest.raises(SettingsError, match="number: expected digits"):
        numbers.open()
    numbers.path.unlink()
    with pytest.raises(SettingsError, match=r"number: expected a readable file, received .*number: No such file"):
        numbers.open()


def test_a_moved_link_of_a_kubernetes_mount_is_seen(tmp_path: Path) -> None:
    mount(tmp_path / "secret", "v1", {"number": b"1"})
    numbers = Numbers(tmp_path / "secret" / "number")
    reloaded = numbers.open()
    mount(tmp_path / "secret", "v2", {"number": b"2"})
    assert reloaded.look()
    assert reloaded.current == 2
    # And back, though both files have the same size and may have the same time.
    aside = tmp_path / "secret" / "..data_tmp"
    aside.symlink_to("v1")
    os.replace(aside, tmp_path / "secret" / "..data")  # noqa: PTH105
    assert reloaded.look()
    assert reloaded.current == 1


def test_files_that_change_while_they_are_read_are_read_again(numbers: Numbers) -> None:
    second = numbers.path.with_name("second")
    second.write_text("1")

    def read() -> tuple[int, Sequence[Path]]:
        first = int(numbers.path.read_text())
        if first == 2 and second.read_text() == "1":
            # The writer's second step falls between our two.
            put(numbers.path, "3")
            put(second, "3")
        both = (first, int(second.read_text()))
        if both[0] != both[1]:
            raise SettingsError(f"pair: expected two alike, received {both}")
        return both[0], (numbers.path, second)

    reloaded = Reloaded("number", [numbers.path, second], read, numbers.metrics, numbers.logger)
    put(numbers.path, "2")
    assert reloaded.look()
    assert reloaded.current == 3
    assert numbers.warnings == []


def test_what_holds_only_later_is_taken_when_its_time_comes(numbers: Numbers) -> None:
    now = [0]

    def read() -> tuple[int, Sequence[Path]]:
        number = int(numbers.path.read_text())
        if number > now[0] + 1:
            raise NotYetInForce(f"number: expected at most {now[0]}, received {number}")
        return number, (numbers.path,)

    reloaded = numbers.open(read)
    put(numbers.path, "5")
    assert [reloaded.look() for _ in range(3)] == [False] * 3
    assert len(numbers.warnings) == 1
    now[0] = 5
    assert reloaded.look()
    assert reloaded.current == 5


def test_watching_finds_changes_by_itself_and_outlives_a_listeners_defect(numbers: Numbers) -> None:
    reloaded = numbers.open()
    heard = threading.Event()

    def fail() -> None:
        if reloaded.current == 2:
            raise RuntimeError("a defect")
        heard.set()

    reloaded.on_change(fail)
    reloaded.watch(0.01)
    put(numbers.path, "2")
    end = time.monotonic() + 10
    while reloaded.current != 2:
        assert time.monotonic() < end
        time.sleep(0.005)
    put(numbers.path, "3")
    assert heard.wait(10)
    reloaded.close()
    put(numbers.path, "4")
    time.sleep(0.05)
    assert reloaded.current == 3
