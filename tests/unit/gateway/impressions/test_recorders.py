from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.engine.request import RecommendRequest
from gateway.impressions.log_folder import LogFolder, Retention
from gateway.impressions.log_writer import Rolling
from gateway.impressions.recorders import Logs
from gateway.users.store import NewEvent
from tests.unit.gateway.impressions.answers import logged, names, served
from twostage.bundle.filters import Condition, Filter
from twostage.impressions.log import open_log
from twostage.impressions.sampling import is_sampled
from twostage.impressions.user_key import UserKeys

KEYS = UserKeys(b"a secret of the tests")


class Folder(LogFolder):
    """A folder on a disk that can be full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Retention())
        self.is_full = False
        self.attempt_count = 0

    def publish(self, kind: str, content: memoryview, unix_seconds: float) -> Path:
        self.attempt_count += 1
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().publish(kind, content, unix_seconds)


class Opened:
    """Logs, with what they count."""

    def __init__(self, folder: LogFolder, rolling: Rolling, **more: Any) -> None:
        self._registry = CollectorRegistry()
        self.logs = Logs.open(folder, KEYS, self._registry, rolling=rolling, **more)

    def written(self, log: str = "impressions") -> int:
        return int(self._registry.get_sample_value("twostage_gateway_log_written_total", {"log": log}) or 0)

    def dropped(self, log: str = "impressions") -> dict[str, int]:
        reasons = ("queue_full", "too_large", "io_error", "invalid", "closed")
        name = "twostage_gateway_log_dropped_total"
        counts = {why: self._registry.get_sample_value(name, {"log": log, "reason": why}) for why in reasons}
        return {why: int(count) for why, count in counts.items() if count}


@contextmanager
def opened(folder: LogFolder | Path, rolling: Rolling | None = None, **more: Any) -> Iterator[Opened]:
    made = folder if isinstance(folder, LogFolder) else LogFolder(folder, Retention())
    log = Opened(made, rolling or Rolling(), **more)
    try:
        yield log
    finally:
        log.logs.close(20.0)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def tried(folder: Folder, count: int) -> bool:
    return folder.attempt_count >= count


def event(event_id: str = "e1", **more: Any) -> NewEvent:
    fields: dict[str, Any] = {
        "user_id": "ann",
        "item_id": "i2",
        "action": "rated",
        "value": 4.0,
        "time_seconds": 1_700_000_200,
    }
    return NewEvent(event_id, **(fields | {"request_id": "r1"} | more))


def test_what_waits_is_written_when_the_log_is_closed(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for number in range(150):
            log.logs.recorder.note(served(f"r{number}"))
        assert files(tmp_path) == []
    assert names(logged(tmp_path)) == [f"r{number}" for number in range(150)]
    assert (log.written(), log.dropped()) == (150, {})
    assert len(files(tmp_path)) == 1


def test_a_file_is_completed_when_its_time_is_over(tmp_path: Path) -> None:
    with opened(tmp_path, Rolling(seconds=0.2)) as log:
        log.logs.recorder.note(served("a"))
        until(lambda: log.written() == 1)
        assert names(logged(tmp_path)) == ["a"]
        log.logs.recorder.note(served("b"))
        until(lambda: log.written() == 2)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("rolling", [Rolling(file_rows=40), Rolling(file_bytes=64 * 2**10)])
def test_a_file_is_completed_when_it_is_large(tmp_path: Path, rolling: Rolling) -> None:
    with opened(tmp_path, rolling) as log:
        for number in range(512):
            log.logs.recorder.note(served(f"r{number}"))
    assert 3 <= len(files(tmp_path)) <= 512 // 64 + 1
    assert log.written() == 512
    assert sorted(names(logged(tmp_path))) == sorted(f"r{number}" for number in range(512))


def test_events_are_logged_by_the_same_key_as_answers(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.logs.recorder.note(served("r1", user_id="ann"))
        log.logs.events.note([event("e1"), event("e2", user_id="bob", value=None, request_id="")])
    (answer,) = logged(tmp_path)
    first, second = open_log(tmp_path).events().to_pylist()
    assert first["user_key"] == answer.user_key == KEYS.user("ann")
    assert (first["request_id"], first["item_id"], first["action"], first["value"]) == ("r1", "i2", "rated", 4.0)
    assert first["time"].timestamp() == 1_700_000_200
    assert (second["user_key"], second["value"], second["request_id"]) == (KEYS.user("bob"), None, "")
    assert log.written("events") == 2


def test_no_id_of_a_person_and_no_event_id_is_in_a_file(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.logs.recorder.note(served(user_id="secret-person"))
        log.logs.events.note([event("secret-event", user_id="secret-person")])
    text = str([each.to_pylist() for each in open_log(tmp_path).impressions()]) + str(open_log(tmp_path).events())
    assert "secret-" not in text
    assert all(b"secret-" not in path.read_bytes() for path in files(tmp_path))


def test_a_share_of_the_answers_is_logged_and_all_events(tmp_path: Path) -> None:
    with opened(tmp_path, share=0.25) as log:
        for number in range(400):
            log.logs.recorder.note(served(f"r{number}"))
            log.logs.events.note([event(f"e{number}")])
    assert names(logged(tmp_path)) == [f"r{number}" for number in range(400) if is_sampled(f"r{number}", 0.25)]
    assert log.written("events") == 400
    assert log.dropped() == {}


def test_every_record_is_written_or_counted_as_dropped(tmp_path: Path) -> None:
    with opened(tmp_path, Rolling(queue_count=20)) as log:
        for number in range(3_000):
            log.logs.recorder.note(served(f"r{number}"))
    dropped = log.dropped()
    assert dropped.keys() == {"queue_full"}
    assert log.written() + dropped["queue_full"] == 3_000
    assert len(logged(tmp_path)) == log.written() >= 20


def test_a_record_that_is_larger_than_the_queue_is_dropped_alone(tmp_path: Path) -> None:
    asked = RecommendRequest("ann", filter=Filter((Condition("tags", any_of=("x" * 200,) * 500),)))
    with opened(tmp_path, Rolling(queue_bytes=100_000)) as log:
        log.logs.recorder.note(served("rows", excluded_rows=range(20_000)))
        log.logs.recorder.note(served("a filter", request=asked))
        log.logs.recorder.note(served("small"))
    assert names(logged(tmp_path)) == ["small"]
    assert log.dropped() == {"too_large": 2}


def test_a_record_that_does_not_fit_is_dropped_and_its_neighbours_are_not(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for name, excluded in (("a", [1]), ("b", [-1]), ("c", [2])):
            log.logs.recorder.note(served(name, excluded_rows=excluded))
        nothing: Any = None
        log.logs.recorder.note(nothing)
    assert names(logged(tmp_path)) == ["a", "c"]
    assert log.dropped() == {"invalid": 2}


def test_what_comes_after_the_end_is_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.logs.close(20.0)
        log.logs.recorder.note(served())
        log.logs.events.note([event()])
    assert (log.dropped(), log.dropped("events")) == ({"closed": 1}, {"closed": 1})


def test_a_full_disk_costs_nothing_while_memory_lasts(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with opened(folder, Rolling(seconds=0.05, retry_seconds=0.05)) as log:
        folder.is_full = True
        for number in range(5):
            log.logs.recorder.note(served(f"r{number}"))
        until(lambda: folder.attempt_count >= 3)
        assert files(tmp_path) == []
        folder.is_full = False
        until(lambda: log.written() == 5)
    assert names(logged(tmp_path)) == [f"r{number}" for number in range(5)]
    assert log.dropped() == {}


def test_on_a_full_disk_the_oldest_files_are_dropped_and_later_ones_are_written(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    rolling = Rolling(seconds=0.05, file_rows=1, retry_seconds=60.0, unwritten_bytes=60_000)
    with opened(folder, rolling) as log:
        folder.is_full = True
        for number in range(10):
            log.logs.recorder.note(served(f"r{number}"))
            until(partial(tried, folder, number + 1))
        folder.is_full = False
        log.logs.recorder.note(served("last"))
    left = names(logged(tmp_path))
    assert left == [f"r{number}" for number in range(10 - len(left) + 1, 10)] + ["last"]
    assert 1 < len(left) < 11
    assert log.dropped() == {"io_error": 11 - len(left)}


def test_a_disk_that_is_full_at_the_end_loses_what_it_counts(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with opened(folder) as log:
        folder.is_full = True
        for number in range(3):
            log.logs.recorder.note(served(f"r{number}"))
    assert files(tmp_path) == []
    assert (log.written(), log.dropped()) == (0, {"io_error": 3})


class Hanging(Folder):
    """A folder on a disk that does not answer until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.let_go = threading.Event()

    def publish(self, kind: str, content: memoryview, unix_seconds: float) -> Path:
        self.attempt_count += 1
        self.let_go.wait(30.0)
        return super().publish(kind, content, unix_seconds)


def test_a_disk_that_hangs_keeps_nobody_waiting_and_what_finds_no_room_is_counted(tmp_path: Path) -> None:
    folder = Hanging(tmp_path)
    with opened(folder, Rolling(file_rows=1, seconds=0.05, queue_count=50)) as log:
        log.logs.recorder.note(served("first"))
        until(partial(tried, folder, 1))
        answers = [served(f"r{number}") for number in range(500)]
        start = time.monotonic()
        for answer in answers:
            log.logs.recorder.note(answer)
        assert time.monotonic() - start < 5.0
        assert log.dropped() == {"queue_full": 450}
        folder.let_go.set()
    assert names(logged(tmp_path)) == ["first", *(f"r{number}" for number in range(50))]


def test_an_end_that_takes_too_long_is_not_waited_for_and_counts_what_is_not_written(tmp_path: Path) -> None:
    folder = Hanging(tmp_path)
    with opened(folder) as log:
        for number in range(3):
            log.logs.recorder.note(served(f"r{number}"))
        log.logs.events.note([event()])
        start = time.monotonic()
        log.logs.close(1.5)
        # Both logs together, not one after the other.
        assert time.monotonic() - start < 2.5
        assert (log.dropped(), log.dropped("events")) == ({"closed": 3}, {"closed": 1})
        folder.let_go.set()


def test_several_writers_share_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        first.logs.recorder.note(served("a"))
        second.logs.recorder.note(served("b"))
    assert sorted(names(logged(tmp_path))) == ["a", "b"]
    assert len(files(tmp_path)) == 2
