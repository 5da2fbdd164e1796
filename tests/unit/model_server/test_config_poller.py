"""What a look at the config file does, against a file on disk and a recorded reload."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from model_server.config import ModelConfig, read_config
from model_server.config_poller import ConfigPoller
from model_server.errors import ServingError, invalid_argument
from model_server.flags import Flags


class Disk:
    """A config file and what was put in force of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reloads: list[list[str]] = []
        self.refusal: ServingError | None = None
        self.write("first")

    def write(self, *names: str) -> None:
        one = 'config {{ name: "{}" base_path: "/m" model_platform: "tensorflow" }}'
        self.path.write_text(f"model_config_list {{ {' '.join(map(one.format, names))} }}")

    def reload(self, models: Mapping[str, ModelConfig]) -> None:
        self.reloads.append(list(models))
        if self.refusal is not None:
            raise self.refusal

    def poller(self, seconds: float = 60) -> ConfigPoller:
        flags = Flags(model_config_file=str(self.path))
        return ConfigPoller(self.path, seconds, lambda: read_config(flags), self.reload)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "models.config")


def test_only_a_change_is_put_in_force_and_only_once(disk: Disk) -> None:
    poller = disk.poller()
    poller.look()
    assert disk.reloads == []
    disk.write("first", "second")
    poller.look()
    poller.look()
    assert disk.reloads == [["first", "second"]]


def test_a_broken_or_missing_file_is_logged_once_and_what_was_in_force_stays(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    poller = disk.poller()
    disk.path.write_text("bogus {")
    poller.look()
    poller.look()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert 'no field named "bogus"' in caplog.text
    disk.path.unlink()
    poller.look()
    assert "No such file" in caplog.text
    assert disk.reloads == []
    disk.write("first")
    poller.look()
    assert disk.reloads == []
    disk.write("second")
    poller.look()
    assert disk.reloads == [["second"]]


def test_what_was_refused_is_tried_again_until_it_is_taken(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    poller = disk.poller()
    disk.refusal = invalid_argument("not yet")
    disk.write("second")
    poller.look()
    poller.look()
    assert caplog.text.count("failed to ReloadConfig: not yet") == 1
    disk.refusal = None
    poller.look()
    poller.look()
    assert disk.reloads == [["second"]] * 3


def test_it_looks_by_itself_until_it_is_stopped(disk: Disk) -> None:
    poller = disk.poller(0.02)
    poller.start()
    disk.write("second")
    end = time.monotonic() + 10
    while not disk.reloads:
        assert time.monotonic() < end
        time.sleep(0.01)
    poller.stop()
    poller._thread.join(10)
    assert not poller._thread.is_alive()
    assert disk.reloads == [["second"]]
