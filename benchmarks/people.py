"""The people whose requests are measured: those whose histories the store carries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.histories import known_people
from twostage.bundle.store import Store


def known_histories(store: Store, *, limit: int) -> list[NDArray[np.int64]]:
    """The rows of the taste in those people's histories, oldest first."""
    generation = store.open()
    actions = generation.manifest.action_schema
    histories = []
    for person in known_people(store, limit=limit, least_count=5):
        taste = [
            item_id
            for item_id, action, value in zip(person.item_ids, person.actions, person.values, strict=True)
            if actions.is_taste(action, value)
        ]
        rows = generation.ids.rows(taste)
        if len(rows):
            histories.append(rows[rows >= 0])
    return histories
