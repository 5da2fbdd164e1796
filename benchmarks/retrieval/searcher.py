"""One library alone in a process, told line by line what to search: the side of that process.

It needs NumPy alone, for the other libraries live in an environment of their own. Orders come as lines of JSON on
standard input, answers go out likewise:

- ``{"do": "recall", "point": 3}`` searches every query once;
- ``{"do": "time", "point": 3, "searches": 300, "first": 0}`` times single searches after some that warm up;
- ``{"do": "memory"}`` says what the process holds beside mapped files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

QUERIES_FILE = "queries.npy"
"""float32[Q, D], whose neighbours are searched."""
NEAREST_FILE = "nearest.npy"
"""int64[Q, at], the exact ones."""

_WARM_SEARCHES = 50


class Searcher(Protocol):
    """A library with an index that is ready."""

    version: str
    """The library's."""
    build_seconds: float | None
    """How long the index took to build; None when it was there."""

    @property
    def points(self) -> Sequence[Mapping[str, float]]:
        """The parameters to search with, one set for each point of the frontier."""

    def choose(self, point: Mapping[str, float]) -> None:
        """Sets the parameters of the searches that follow."""

    def search(self, query: NDArray[np.float32]) -> NDArray[Any]:
        """The rows that one search finds, on the calling thread alone."""


def serve(searcher: Searcher, task: Path, answers: Any, held_before: int | None) -> None:
    """Obeys until standard input ends.

    Args:
        searcher: What searches.
        task: A folder with :data:`QUERIES_FILE` and :data:`NEAREST_FILE`.
        answers: From :func:`private_output`.
        held_before: What the process held before the index was opened, in bytes; from :func:`anonymous_bytes`.
    """
    queries, nearest = np.load(task / QUERIES_FILE), np.load(task / NEAREST_FILE)

    def answer(fields: Mapping[str, Any]) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    answer(
        {
            "version": searcher.version,
            "build_seconds": searcher.build_seconds,
            "points": [dict(point) for point in searcher.points],
        }
    )
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "recall":
            searcher.choose(searcher.points[order["point"]])
            answer(_recall(searcher, queries, nearest))
        elif order["do"] == "time":
            searcher.choose(searcher.points[order["point"]])
            answer(_time(searcher, queries, order["searches"], order["first"]))
        else:
            answer({"bytes_before": held_before, "bytes": anonymous_bytes()})


def private_output() -> Any:
    """The standard output, for answers alone: what libraries print goes to the error output from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def anonymous_bytes() -> int | None:
    """Memory of this process that maps no file; None where /proc does not tell."""
    path = Path("/proc/self/smaps_rollup")
    if not path.is_file():
        return None
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return None


def _recall(searcher: Searcher, queries: NDArray[np.float32], nearest: NDArray[np.int64]) -> dict[str, float]:
    at = nearest.shape[1]
    found = np.empty(len(queries))
    for number, query in enumerate(queries):
        rows = np.unique(np.asarray(searcher.search(query)))
        if len(rows) > at:
            raise ValueError(f"a search for {at} found {len(rows)}")
        found[number] = np.isin(nearest[number], rows).mean()
    return {"recall": float(found.mean()), "standard_error": float(found.std() / len(found) ** 0.5)}


def _time(searcher: Searcher, queries: NDArray[np.float32], searches: int, first: int) -> dict[str, float]:
    for number in range(_WARM_SEARCHES):
        searcher.search(queries[(first - 1 - number) % len(queries)])
    seconds = np.empty(searches)
    cpu_before, wall_before = time.process_time(), time.perf_counter()
    for number in range(searches):
        query = queries[(first + number) % len(queries)]
        started = time.perf_counter()
        searcher.search(query)
        seconds[number] = time.perf_counter() - started
    cpu, wall = time.process_time() - cpu_before, time.perf_counter() - wall_before
    # More CPU than wall time would be a second thread.
    return {"median_ms": float(np.median(seconds)) * 1e3, "cores": cpu / wall}
