from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.experiments_file import ExperimentsFile, open_experiments
from gateway.planner import Planner
from twostage.experiments.errors import ExperimentsInvalid
from twostage.rpc.settings import SettingsError

ONE = "experiments: [{name: one, arms: [{name: a}]}]"
TWO = "experiments: [{name: two, arms: [{name: b}]}, {name: dormant, layer: x, enabled: false, arms: [{name: c}]}]"


class Followed:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.registry = CollectorRegistry()
        self.planner = Planner(Plan())
        self.file = ExperimentsFile(
            path, self.planner, logger=structlog.get_logger(), registry=self.registry, poll_seconds=0.01
        )

    def arms(self) -> list[str]:
        return [arm.arm for arm in self.planner.plan(RecommendRequest(user_id="anna"), "r").arms]

    def counts(self) -> tuple[float | None, float | None, float | None]:
        name = "twostage_gateway_experiment_reloads_total"
        return (
            self.registry.get_sample_value("twostage_gateway_experiments"),
            self.registry.get_sample_value(name, {"outcome": "taken"}),
            self.registry.get_sample_value(name, {"outcome": "refused"}),
        )

    def replace(self, text: str) -> list[EventDict]:
        other = self.path.with_suffix(".new")
        other.write_text(text)
        other.replace(self.path)
        with capture_logs() as logs:
            self.file.look()
        return logs


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    path = tmp_path / "experiments.yaml"
    path.write_text(ONE)
    made = Followed(path)
    yield made
    made.file.close()


def test_a_changed_file_is_taken(followed: Followed) -> None:
    assert followed.arms() == ["a"]
    assert followed.counts() == (1, 0, 0)
    logs = followed.replace(TWO)
    assert followed.arms() == ["b"]
    assert followed.counts() == (1, 1, 0)
    assert [(log["event"], log["experiments"]) for log in logs] == [("experiments changed", ["two"])]


def test_a_broken_file_is_told_of_once_and_the_experiments_before_it_go_on(followed: Followed) -> None:
    logs = followed.replace("experiments: [{name: two, arms: []}]")
    assert [log["event"] for log in logs] == ["experiments refused, those before go on"]
    assert "experiment 'two': arms:" in logs[0]["complaint"]
    followed.file.look()
    assert followed.arms() == ["a"]
    assert followed.counts() == (1, 0, 1)
    followed.replace(TWO)
    assert followed.arms() == ["b"]


def test_a_file_that_went_away_is_told_of_and_comes_back(followed: Followed) -> None:
    followed.path.unlink()
    followed.file.look()
    followed.file.look()
    assert followed.arms() == ["a"]
    assert followed.counts() == (1, 0, 1)
    followed.replace(TWO)
    assert followed.arms() == ["b"]


def test_a_change_that_keeps_the_size_is_seen(followed: Followed) -> None:
    followed.replace(ONE.replace("{name: a}", "{name: b}"))
    assert followed.arms() == ["b"]


def test_an_unchanged_file_is_not_read_again(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("gateway.experiments_file.read_experiments", never)
    followed.file.look()


def test_the_thread_follows_a_link_to_another_file(followed: Followed, tmp_path: Path) -> None:
    """As a ConfigMap's files are replaced."""
    second = tmp_path / "second.yaml"
    second.write_text(TWO)
    # The very same time and size must not hide it.
    os.utime(second, ns=(followed.path.stat().st_mtime_ns,) * 2)
    followed.file.watch()
    link = tmp_path / "link"
    link.symlink_to(second)
    link.replace(followed.path)
    give_up = time.monotonic() + 10
    while followed.arms() != ["b"] and time.monotonic() < give_up:
        time.sleep(0.01)
    assert followed.arms() == ["b"]


@pytest.mark.parametrize("text", [None, "experiments: 3", ": : :"])
def test_a_gateway_does_not_start_with_a_broken_file(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "experiments.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ExperimentsInvalid, match=r"^experiments\.yaml: "):
        Followed(path)
    closed: list[Callable[[], None]] = []
    with pytest.raises(SettingsError, match=r"^experiments: experiments\.yaml: "):
        open_experiments(
            path, Planner(Plan()), logger=structlog.get_logger(), registry=CollectorRegistry(), on_close=closed.append
        )


def test_without_a_file_there_is_nothing_to_follow() -> None:
    closed: list[Callable[[], None]] = []
    watch = open_experiments(
        None, Planner(Plan()), logger=structlog.get_logger(), registry=CollectorRegistry(), on_close=closed.append
    )
    watch()
    assert closed == []
