"""The folder that log files appear in, whole or not at all."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from twostage.impressions.schema import SCHEMAS

_HOST = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:63] or "host"
_NAME = re.compile(rf"({'|'.join(SCHEMAS)})-(\d{{8}}T\d{{6}}\.\d{{6}})Z-.+\.parquet")
_HIDDEN_SUFFIX = ".part"
# A file is written in seconds; what is this old was left by a process that is gone.
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class Retention:
    """What is deleted from the folder, the oldest files first; each process that writes there looks after all of it.

    Args:
        max_bytes: What the log's files may take together; 0 for any size.
        max_age_seconds: How old a file may become, by the time in its name; 0 for any age.
    """

    max_bytes: int = 0
    max_age_seconds: float = 0.0


class LogFolder:
    """Makes files appear in a folder that several processes and machines may write to.

    A file is written under a hidden name, synchronised to the disk, and then renamed: one that can be seen is complete
    and survives a crash of the machine. Names are ``KIND-TIME-HOST-PID-RANDOM.parquet``, so no two are alike and they
    sort by time.

    Args:
        path: The folder, made when it does not exist.
        retention: What is deleted.

    Raises:
        OSError: The folder cannot be made or written to.
    """

    def __init__(self, path: Path, retention: Retention) -> None:
        self.path = path
        self._retention = retention
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{uuid4().hex}{_HIDDEN_SUFFIX}"
        probe.touch()
        probe.unlink()
        self._remove_stale()

    def publish(self, kind: str, content: memoryview, unix_seconds: float) -> Path:
        """Makes a file appear.

        Args:
            kind: Which log.
            content: The whole file.
            unix_seconds: The time for its name.

        Raises:
            OSError: It could not be written; nothing of it is left, unless the folder itself is out of reach.
        """
        target = self.path / f"{kind}-{_stamp(unix_seconds)}Z-{_HOST}-{os.getpid()}-{uuid4().hex[:12]}.parquet"
        hidden = target.with_name(f".{target.name}{_HIDDEN_SUFFIX}")
        try:
            with hidden.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(target)
        except OSError:
            with suppress(OSError):
                hidden.unlink()
            raise
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return target

    def retire(self, now_seconds: float) -> tuple[int, int]:
        """Deletes the files that retention does not keep.

        Args:
            now_seconds: Unix time.

        Returns:
            How many files of the log were deleted, and how many bytes those take that are left.

        Raises:
            OSError: The folder cannot be read.
        """
        files = []
        for path in self.path.iterdir():
            named = _NAME.fullmatch(path.name)
            if named is not None:
                # Another process may just have deleted it.
                with suppress(FileNotFoundError):
                    files.append((named.group(2), path.stat().st_size, path))
        files.sort(key=lambda file: (file[0], file[2].name))
        left = sum(size for _, size, _ in files)
        oldest = _stamp(max(now_seconds - self._retention.max_age_seconds, 0.0))
        deleted = 0
        for stamp, size, path in files:
            too_old = self._retention.max_age_seconds > 0 and stamp < oldest
            too_many = self._retention.max_bytes > 0 and left > self._retention.max_bytes
            if not (too_old or too_many):
                break
            with suppress(FileNotFoundError):
                path.unlink()
                deleted += 1
            left -= size
        return deleted, left

    def _remove_stale(self) -> None:
        for path in self.path.glob(f".*{_HIDDEN_SUFFIX}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()


def _stamp(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y%m%dT%H%M%S.%f")
