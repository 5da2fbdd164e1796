"""Folders of histories as training writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twostage.bundle.histories import write_histories


def write(folder: Path, people: dict[str, list[tuple[int, str, float, int]]]) -> Path:
    """Writes people's entries (row of ``i0``…``i9``, action, value or NaN, Unix seconds), oldest first."""
    recorded = ["rated", "to_read"]
    flat = [entry for entries in people.values() for entry in entries]
    write_histories(
        folder,
        user_ids=list(people),
        item_ids=[f"i{row}" for row in range(10)],
        recorded_actions=recorded,
        offsets=np.cumsum([0, *(len(entries) for entries in people.values())]),
        rows=np.array([entry[0] for entry in flat]),
        actions=np.array([recorded.index(entry[1]) for entry in flat]),
        values=np.array([entry[2] for entry in flat]),
        times=np.array([entry[3] for entry in flat]),
    )
    return folder
