"""Which tests stay together in one process when several run side by side, and what begins first.

``--dist loadfile`` keeps a file's tests together. Folders whose files share servers are kept together too, so that the
servers start once in a run and not once for each file. What takes long and has few tests begins first: begun last, it
would keep one process busy while the others have nothing left to do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# The longest first.
TOGETHER = (
    "tests/contract/tfserving",
    "tests/integration/gateway",
    "tests/integration/ranking",
)
EARLY = ("tests/e2e/", "tests/chaos/", "tests/integration/", "tests/load/", "tests/unit/training/")


def scope_of(node_id: str) -> str:
    """What is kept together: one of the folders, or a file."""
    path = node_id.partition("::")[0]
    return next((folder for folder in TOGETHER if path.startswith(f"{folder}/")), path)


class FolderScheduling(LoadFileScheduling):  # type: ignore[misc] # xdist ships no types
    """By file, but for the folders that stay together; in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def in_order(node_ids: Sequence[str]) -> list[int]:
    """Positions of tests in the order in which they are to begin: the folders, then what is early, then large files."""
    counts = Counter(map(scope_of, node_ids))

    def key(position: int) -> tuple[int, int, int, str]:
        scope = scope_of(node_ids[position])
        folder = TOGETHER.index(scope) if scope in TOGETHER else len(TOGETHER)
        return folder, 0 if scope.startswith(EARLY) else 1, -counts[scope], scope

    return sorted(range(len(node_ids)), key=key)


def runs_side_by_side() -> bool:
    """Whether this is one of several processes that run tests."""
    return "PYTEST_XDIST_WORKER" in os.environ
