"""Downloads goodbooks-10k from where its author publishes it, with checksums."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from pathlib import Path

import pooch
from rich.progress import Progress, TaskID

from training.data.errors import DataError

COMMIT = "6dd165b555a7b47b2dd36743a425776e641ff50c"
"""The revision of the author's repository that is downloaded: the second edition."""

BASE_URL = f"https://raw.githubusercontent.com/zygmuntz/goodbooks-10k/{COMMIT}/"

GOODBOOKS: dict[str, str] = {
    "books.csv": "d694afdf5f555b51c1128c6ff562b6e54a7f75e3",
    "tags.csv": "65b5424eeec23554e9b034933e438cd12017a985",
    "book_tags.csv": "f82218f199850f533568eaf22529b5df1c545412",
    "to_read.csv": "bd19bb1ed6b9fb20f15c42e0af23e413aeaf1c04",
    "ratings.csv": "0d245a10acfe3c89b2e4004cdbc805b99771ac5d",
}
"""File to the name that Git gives its content at that revision: SHA-1 of "blob ", the size, a zero byte and the
content. These are the checksums that the author's repository itself holds for every file."""

_CHUNK_BYTES = 1 << 16


def fetch_goodbooks(
    out: Path,
    timeout_seconds: float,
    *,
    total_seconds: float | None = None,
    progress: Progress | None = None,
    base_url: str = BASE_URL,
    blob_ids: dict[str, str] | None = None,
) -> Path:
    """Downloads the files of goodbooks-10k that are read, some 90 MB; those already there are checked and kept.

    Args:
        out: The directory to write to; made when it is missing.
        timeout_seconds: How long to wait for an answer, and for each further piece of one.
        total_seconds: How long all of it may take; any time by default. Files that are complete by then are kept.
        progress: Where to show progress, if anywhere.
        base_url: Where the files are; ends with a slash.
        blob_ids: File to Git blob id; :data:`GOODBOOKS` by default.

    Returns:
        The directory, which :func:`training.data.read.read_dataset` reads.

    Raises:
        DataError: A file cannot be downloaded in time, or its checksum differs.
    """
    deadline = time.monotonic() + total_seconds if total_seconds is not None else None
    shown = progress or Progress(disable=True)
    pooch.get_logger().setLevel(logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    answered = False
    for name, expected in (GOODBOOKS if blob_ids is None else blob_ids).items():
        target = out / name
        there = target.is_file()
        if not there:
            if not answered:
                _await_answer(base_url + name, timeout_seconds)
                answered = True
            _download(base_url + name, target, timeout_seconds, shown, deadline)
        if (came := git_blob_id(target)) != expected:
            if not there:
                target.unlink()
            what = f"the one in {out}" if there else "the download"
            raise DataError(name, None, None, f"expected Git blob {expected}, {what} is {came}")
    return out


def git_blob_id(path: Path) -> str:
    """The name Git gives a file's content (40 hex digits)."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class _Bar:
    """What pooch tells of a download, shown with rich; the one place that sees each piece, so it keeps the time."""

    def __init__(self, progress: Progress, name: str, deadline: float | None) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(name, total=None)
        self._deadline = deadline
        self.check()

    @property
    def total(self) -> float | None:
        """Bytes to come, when known."""
        return self._progress.tasks[self._progress.task_ids.index(self._task)].total

    @total.setter
    def total(self, total: int) -> None:
        self._progress.update(self._task, total=total or None)

    def check(self) -> None:
        """Raises TimeoutError when the time for all files is spent."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError("the time for the download is spent")

    def update(self, size: int) -> None:
        """Counts bytes."""
        self._progress.advance(self._task, size)
        self.check()

    def reset(self) -> None:
        """Starts again from 0."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """Nothing is held."""


def _await_answer(url: str, timeout_seconds: float) -> None:
    """Waits for a first answer, in a thread of its own.

    The time limit of a connection holds for each of a host's addresses and not for the look-up of its name, so a dead
    network would be waited for many times over.
    """
    failures: list[OSError] = []

    def ask() -> None:
        try:
            pooch.HTTPDownloader(timeout=timeout_seconds)(url, None, None, check_only=True)
        except OSError as error:  # all of requests' errors are
            failures.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive() or failures:
        reason = type(failures[0]).__name__ if failures else f"no answer within {timeout_seconds:g} s"
        raise DataError(url.rpartition("/")[2], None, None, f"cannot be downloaded from {url}: {reason}")


def _download(url: str, target: Path, timeout_seconds: float, progress: Progress, deadline: float | None) -> None:
    try:
        bar = _Bar(progress, target.name, deadline)
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK_BYTES, timeout=timeout_seconds)
        pooch.retrieve(url, known_hash=None, fname=target.name, path=target.parent, downloader=downloader)
    except OSError as error:  # all of requests' errors are, and TimeoutError
        reason = str(error) if isinstance(error, TimeoutError) else type(error).__name__
        raise DataError(target.name, None, None, f"cannot be downloaded from {url}: {reason}") from error
