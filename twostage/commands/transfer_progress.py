"""A bar for bytes that take longer than a moment to sum, download or upload."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from twostage.bundle.transfer import Watch
from twostage.terminal import make_console

SHOWN_AFTER_SECONDS = 1.0
"""What is done sooner needs no bar."""


@contextmanager
def transfer_progress(title: str) -> Iterator[Watch]:
    """Gives a watch that shows a bar on a terminal's standard error when the work takes longer than a second.

    Args:
        title: What is being done, e.g. ``generation 3``.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = make_console(stderr=True)
    progress = Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    )
    task = progress.add_task(title, total=None)
    started = time.monotonic()

    def watch(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)
        if not progress.live.is_started and time.monotonic() - started > SHOWN_AFTER_SECONDS:
            progress.start()

    try:
        yield watch
    finally:
        if progress.live.is_started:
            progress.stop()
