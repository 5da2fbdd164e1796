"""Where the stores that are measured lie, and whether they are whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from twostage.bundle.store import Store

RECIPE = 1
"""Raised when the stores of an earlier recipe must not be measured any more."""


@dataclass(frozen=True)
class BuiltStore:
    """A store of two generations of one content and, beside it, the ranker as tutorials export one.

    Args:
        work: The folder of all sizes.
        item_count: Items.
    """

    work: Path
    item_count: int

    @property
    def folder(self) -> Path:
        """Of this size."""
        return self.work / str(self.item_count)

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.folder / "store")

    @property
    def pairwise_model(self) -> Path:
        """A SavedModel; see `benchmarks.whole.pairwise`."""
        return self.folder / "pairwise"

    @property
    def _figures(self) -> Path:
        return self.folder / "build.json"

    def finish(self, seconds: dict[str, float]) -> None:
        """Says that everything is there.

        Args:
            seconds: What took how long.
        """
        document = {"recipe": RECIPE, "items": self.item_count, "seconds": seconds}
        self._figures.write_text(json.dumps(document) + "\n", encoding="utf-8")

    def is_whole(self) -> bool:
        """Whether everything is there and of this recipe."""
        try:
            return bool(json.loads(self._figures.read_text(encoding="utf-8"))["recipe"] == RECIPE)
        except (OSError, ValueError, KeyError):
            return False

    @property
    def build_seconds(self) -> dict[str, float]:
        """What took how long."""
        seconds: dict[str, float] = json.loads(self._figures.read_text(encoding="utf-8"))["seconds"]
        return seconds


def ensure_built(work: Path, item_counts: Sequence[int]) -> list[BuiltStore]:
    """The stores of some sizes; those that are not there are made, which takes minutes.

    Raises:
        click.ClickException: One could not be made.
    """
    wanted = [BuiltStore(work, count) for count in item_counts]
    if not all(built.is_whole() for built in wanted):
        work.mkdir(parents=True, exist_ok=True)
        flags = [part for count in item_counts for part in ("--items", str(count))]
        command = [sys.executable, "-m", "benchmarks.whole.build", *flags, "--work", str(work)]
        if subprocess.run(command, check=False).returncode:
            raise click.ClickException("the stores could not be made; the lines above say why")
    return wanted
