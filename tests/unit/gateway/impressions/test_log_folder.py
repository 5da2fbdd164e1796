from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from gateway.impressions.log_folder import LogFolder, Retention

NOON = 1_763_726_400.0  # 2025-11-21 12:00:00 UTC
DAY = 86_400.0
CONTENT = memoryview(b"x" * 100)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_named_by_kind_time_host_process_and_chance(tmp_path: Path) -> None:
    path = LogFolder(tmp_path / "a" / "b", Retention()).publish("events", CONTENT, NOON)
    assert re.fullmatch(
        rf"events-20251121T120000\.000000Z-[A-Za-z0-9._]+-{os.getpid()}-[0-9a-f]{{12}}\.parquet", path.name
    )
    assert path.read_bytes() == bytes(CONTENT)
    assert files(tmp_path / "a" / "b") == [path.name]


def test_two_files_of_one_second_do_not_clash(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path, Retention())
    assert len({folder.publish("events", CONTENT, NOON) for _ in range(5)}) == 5


def test_a_failed_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = LogFolder(tmp_path, Retention())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.publish("impressions", CONTENT, NOON)
    assert files(tmp_path) == []


def test_the_oldest_files_are_deleted_when_all_together_are_too_large(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path, Retention(max_bytes=250))
    (tmp_path / "notes.txt").write_bytes(b"y" * 1000)
    paths = [
        folder.publish(kind, CONTENT, NOON + hour * 3600) for hour, kind in enumerate(["events", "impressions"] * 2)
    ]
    assert folder.retire(NOON) == (2, 200)
    assert files(tmp_path) == sorted(["notes.txt", paths[2].name, paths[3].name])


def test_files_that_are_too_old_are_deleted(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path, Retention(max_age_seconds=2 * DAY))
    old = folder.publish("impressions", CONTENT, NOON)
    young = folder.publish("impressions", CONTENT, NOON + DAY)
    assert folder.retire(NOON + 2.5 * DAY) == (1, 100)
    assert (old.exists(), young.exists()) == (False, True)


def test_without_limits_everything_is_kept(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path, Retention())
    folder.publish("impressions", CONTENT, 1.0)
    assert folder.retire(NOON) == (0, 100)


def test_what_a_dead_process_left_is_removed_once_it_is_stale(tmp_path: Path) -> None:
    fresh, stale = tmp_path / ".impressions-1.parquet.part", tmp_path / ".impressions-0.parquet.part"
    for path in (fresh, stale):
        path.write_bytes(b"half")
    os.utime(stale, (1.0, 1.0))
    LogFolder(tmp_path, Retention())
    assert files(tmp_path) == [fresh.name]


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        LogFolder(tmp_path / "file", Retention())
