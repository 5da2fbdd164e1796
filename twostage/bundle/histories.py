"""Known people's histories, written beside a bundle for the user store to import once.

They are not part of the bundle: bundles are immutable and people can be deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.errors import BundleCorrupt, StoreMissing
from twostage.bundle.store import Store
from twostage.bundle.strings import StringColumn


@dataclass(frozen=True)
class UserHistory:
    """What one person did, oldest first, as parallel columns of length H.

    Args:
        user_id: Who.
        item_ids: What it was done to.
        actions: Recorded actions' names.
        values: E.g. stars, NaN where there is none.
        times: Unix seconds, 0 where unknown.
    """

    user_id: str
    item_ids: list[str]
    actions: list[str]
    values: list[float]
    times: list[int]


def write_histories(
    folder: Path,
    *,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    recorded_actions: Sequence[str],
    offsets: NDArray[np.integer],
    rows: NDArray[np.integer],
    actions: NDArray[np.integer],
    values: NDArray[np.floating],
    times: NDArray[np.integer] | None,
) -> None:
    """Writes histories into a folder that does not exist yet; visible only when whole.

    Args:
        folder: Where to.
        user_ids: U ids.
        item_ids: The catalogue's ids, by row.
        recorded_actions: Names of recorded actions.
        offsets: int[U + 1], where each person's entries start.
        rows: int[M], the items.
        actions: int[M], positions in ``recorded_actions``.
        values: float[M], NaN where there is none.
        times: int[M], Unix seconds, or None when unknown.
    """
    aside = folder.with_name(f".{folder.name}.writing")
    StringColumn.write(aside / "users", user_ids)
    StringColumn.write(aside / "items", item_ids)
    StringColumn.write(aside / "actions", recorded_actions)
    write_array(aside / "offsets.npy", offsets.astype(np.int64))
    write_array(aside / "rows.npy", rows.astype(np.uint32))
    write_array(aside / "codes.npy", actions.astype(np.uint16))
    write_array(aside / "values.npy", values.astype(np.float32))
    write_array(aside / "times.npy", np.zeros(len(rows), np.int64) if times is None else times.astype(np.int64))
    aside.rename(folder)


def read_histories(folder: Path) -> Iterator[UserHistory]:
    """Reads what :func:`write_histories` wrote, one person at a time.

    Raises:
        BundleCorrupt: A file is absent or does not fit the others.
    """
    users = StringColumn.open(folder / "users")
    items = StringColumn.open(folder / "items")
    names = StringColumn.open(folder / "actions").take(range(len(StringColumn.open(folder / "actions"))))
    offsets = map_array(folder / "offsets.npy", shape=(len(users) + 1,))
    count = int(offsets[-1])
    rows = map_array(folder / "rows.npy", shape=(count,))
    codes = map_array(folder / "codes.npy", shape=(count,))
    values = map_array(folder / "values.npy", shape=(count,))
    times = map_array(folder / "times.npy", shape=(count,))
    if count and (int(rows.max()) >= len(items) or int(codes.max()) >= len(names)):
        raise BundleCorrupt(folder, "rows and actions within bounds", "one beyond")
    for user in range(len(users)):
        span = slice(int(offsets[user]), int(offsets[user + 1]))
        yield UserHistory(
            user_id=users[user],
            item_ids=items.take(rows[span]),
            actions=[names[code] for code in codes[span].tolist()],
            values=values[span].tolist(),
            times=times[span].tolist(),
        )


def histories_folder(store: Store, generation: int) -> Path:
    """Where training writes the histories that belong to a generation."""
    return store.path / "users" / str(generation)


def known_people(store: Store, *, limit: int, least_count: int = 1) -> list[UserHistory]:
    """The first ``limit`` people of the current generation's histories with at least ``least_count`` entries.

    Raises:
        StoreMissing: The store carries no histories.
    """
    number = store.current()
    store.fetch_histories(number)
    folder = histories_folder(store, number)
    if not folder.is_dir():
        raise StoreMissing(f"{folder}: no histories; `twostage train` writes them")
    people = (person for person in read_histories(folder) if len(person.item_ids) >= least_count)
    return list(islice(people, limit))
