"""Processes that are told line by line what to do: the side that tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

_ROOT = Path(__file__).resolve().parents[2]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ToldProcess:
    """A module of ours that says when it is ready and then obeys orders; used in a ``with`` block.

    What it says are lines of JSON; it ends when its input does.

    Args:
        name: What it does, as tables and messages say it.
        module: What runs.
        arguments: Its command line.
        python: The interpreter; this one when None.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], python: Path | None = None) -> None:
        self.name = name
        self.ready: dict[str, Any] = {}
        """What the process said first."""
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            # The environment is not resolved: an interpreter in a virtual one is a link out of it.
            [str(python.absolute()) if python else sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **dict.fromkeys(_THREADS, "1")},
        )

    def __enter__(self) -> Self:
        """Waits until the process is ready.

        Raises:
            click.ClickException: It ended before it was.
        """
        try:
            self.ready = self.answer()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the process."""
        self._stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, **order: Any) -> dict[str, Any]:
        """Gives an order and waits for the answer.

        Raises:
            click.ClickException: The process ended.
        """
        self.tell(**order)
        return self.answer()

    def tell(self, **order: Any) -> None:
        """Gives an order; :meth:`answer` waits for what comes of it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer that does not come says why

    def answer(self) -> dict[str, Any]:
        """Waits for the next answer.

        Raises:
            click.ClickException: The process ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-3:]
            raise click.ClickException(f"{self.name} ended with {self._process.returncode}: {' | '.join(last)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stop(self) -> None:
        # Closing its input ends it; what is in the middle of a build does not listen.
        try:
            self._process.communicate(timeout=2)
        except (subprocess.TimeoutExpired, ValueError, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._errors.close()


class SearcherProcess(ToldProcess):
    """A library's process, which ends in :func:`benchmarks.retrieval.searcher.serve`."""

    @property
    def version(self) -> str:
        """The library's."""
        return str(self.ready["version"])

    @property
    def build_seconds(self) -> float | None:
        """How long the index took to build; None when it was there."""
        seconds: float | None = self.ready["build_seconds"]
        return seconds

    @property
    def points(self) -> list[dict[str, float]]:
        """The parameters to search with."""
        points: list[dict[str, float]] = self.ready["points"]
        return points
