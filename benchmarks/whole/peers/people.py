"""Who there is and what they have seen, kept in memory; and what an answer looks like."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.whole.peers.bundle_files import BundleFiles, Person
from benchmarks.whole.peers.models import Taste

CANDIDATE_COUNT = 500
"""As many as our gateway asks retrieval for."""


class People:
    """Everybody's history; new events are kept as long as the process lives.

    Args:
        bundle: The files.
    """

    def __init__(self, bundle: BundleFiles) -> None:
        self._bundle = bundle
        self._people = bundle.people()
        self._row_of = bundle.row_of()
        self._recorded: list[str] = bundle.manifest["recorded_actions"]
        self._taste = Taste(bundle.manifest)
        self._allowed: dict[tuple[str, str], NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    def find(self, user_id: str) -> tuple[Person, list[int]]:
        """A person and the positions of their taste; an unknown one did nothing."""
        person = self._people.get(user_id, Person())
        return person, self._taste.of(person)

    def record(self, user_id: str, item_id: str, action: str) -> None:
        """Remembers an event."""
        with self._lock:
            person = self._people.setdefault(user_id, Person())
            person.rows.append(self._row_of[item_id])
            person.actions.append(self._recorded.index(action))
            person.values.append(float("nan"))
            person.times.append(int(time.time()))

    def unseen(
        self, person: Person, rows: NDArray[np.int64], scores: NDArray[np.float32], wanted: dict[str, str] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Takes what was seen out of found candidates, and what a filter {attribute, value} does not let through."""
        kept = ~np.isin(rows, person.rows)
        if wanted:
            key = (wanted["attribute"], wanted["value"])
            if key not in self._allowed:
                self._allowed[key] = self._bundle.carrying(*key)
            kept &= self._allowed[key][rows]
        return rows[kept][:CANDIDATE_COUNT], scores[kept][:CANDIDATE_COUNT]

    def answer(self, rows: list[int]) -> dict[str, Any]:
        """The JSON of an answer."""
        return {"item_ids": [self._bundle.ids[row] for row in rows]}
