"""A bundle's files read with NumPy and nothing else, as somebody would who has the files and not our code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Strings:
    """A column of strings: one blob and where each begins.

    Args:
        stem: The path without its endings.
    """

    def __init__(self, stem: Path) -> None:
        self._blob = np.load(f"{stem}.blob.npy", mmap_mode="r")
        self._offsets = np.load(f"{stem}.offsets.npy")

    def __len__(self) -> int:
        """How many there are."""
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> str:
        """One of them."""
        start, end = int(self._offsets[position]), int(self._offsets[position + 1])
        return bytes(self._blob[start:end]).decode()


@dataclass
class Person:
    """What one person did, oldest first, as parallel lists.

    Args:
        rows: The items.
        actions: Positions in the recorded actions.
        values: E.g. stars, NaN where there is none.
        times: Unix seconds, 0 where unknown.
    """

    rows: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)


class BundleFiles:
    """The current generation of a store.

    Args:
        store: The store's folder.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.generation = int((store / "CURRENT").read_text(encoding="utf-8"))
        self.folder = store / "generations" / str(self.generation)
        self.manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.tower: dict[str, Any] = self.manifest["towers"][self.manifest["default_tower"]]
        self.ranker: dict[str, Any] = self.manifest["rankers"][self.manifest["default_ranker"]]
        self.ids = Strings(self.folder / "items" / "ids")

    @property
    def ranker_model(self) -> Path:
        """The ranker's SavedModel."""
        return self.store / "models" / str(self.ranker["model"]) / str(self.generation)

    def table(self, file: str) -> NDArray[Any]:
        """An array of the generation, mapped."""
        array: NDArray[Any] = np.load(self.folder / file, mmap_mode="r")
        return array

    def row_of(self) -> dict[str, int]:
        """Every item's row by its id."""
        return {self.ids[row]: row for row in range(len(self.ids))}

    def people(self) -> dict[str, Person]:
        """Everybody's history by user id."""
        folder = self.store / "users" / str(self.generation)
        names, users = Strings(folder / "actions"), Strings(folder / "users")
        recorded = self.manifest["recorded_actions"]
        codes_of = np.array([recorded.index(names[code]) for code in range(len(names))])
        offsets = np.load(folder / "offsets.npy")
        rows, codes = np.load(folder / "rows.npy"), codes_of[np.load(folder / "codes.npy")]
        values, times = np.load(folder / "values.npy"), np.load(folder / "times.npy")
        people = {}
        for position in range(len(users)):
            span = slice(int(offsets[position]), int(offsets[position + 1]))
            columns = (rows[span].tolist(), codes[span].tolist(), values[span].tolist(), times[span].tolist())
            people[users[position]] = Person(*columns)
        return people

    def carrying(self, attribute: str, value: str) -> NDArray[np.bool_]:
        """bool[N], the items that have a value of an attribute."""
        folder = self.folder / "items" / "attributes" / attribute
        vocabulary = Strings(folder / "vocabulary")
        codes = [code for code in range(len(vocabulary)) if vocabulary[code] == value]
        offsets = np.load(folder / "offsets.npy")
        has = np.isin(np.load(folder / "codes.npy"), codes)
        found = np.zeros(len(offsets) - 1, np.bool_)
        found[np.repeat(np.arange(len(found)), np.diff(offsets))[has]] = True
        return found
