"""Puts checked columns together into a catalogue and interactions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.data.dataset import Catalogue, Interactions
from training.data.errors import DataError
from training.data.table_file import TableFile
from twostage.features.schema import FeatureSchema


@dataclass(frozen=True)
class Recorded:
    """The interactions of one source file, as parallel columns in the file's order.

    Args:
        file: Where they come from, for messages.
        users: Ids of users, strings.
        items: Ids of items, strings.
        item_column: The name of the items' column, for messages.
        actions: int16, positions in the recorded names, or one position for all.
        values: float64 with nulls where there is no value, or None when there is none at all.
        times: Unix seconds, or None when the source has no time.
    """

    file: TableFile
    users: pa.ChunkedArray
    items: pa.ChunkedArray
    item_column: str
    actions: NDArray[np.int16] | int = 0
    values: pa.ChunkedArray | None = None
    times: NDArray[np.int64] | None = None


def build_catalogue(
    file: TableFile, id_column: str, ids: pa.ChunkedArray, columns: Mapping[str, pa.ChunkedArray], schema: FeatureSchema
) -> Catalogue:
    """Makes a catalogue of checked ids and columns.

    Raises:
        DataError: There is no item, or an id occurs twice.
    """
    if len(ids) == 0:
        raise DataError(file.name, None, None, "expected at least one item, the catalogue is empty")
    codes = _combined(ids.dictionary_encode())
    if len(codes.dictionary) < len(ids):
        positions = codes.indices.to_numpy()
        first_seen = np.full(len(codes.dictionary), len(ids))
        np.minimum.at(first_seen, positions, np.arange(len(ids)))
        again = int(np.flatnonzero(first_seen[positions] < np.arange(len(ids)))[0])
        before = file.place(int(first_seen[positions[again]]))
        raise file.error(again, id_column, f"expected distinct ids, {ids[again].as_py()!r} is also in {before}")
    return Catalogue(ids.to_pylist(), pa.table(dict(columns)), schema)


def build_interactions(parts: Sequence[Recorded], catalogue: Catalogue, recorded: tuple[str, ...]) -> Interactions:
    """Joins recorded interactions, one source after the other, to the catalogue's rows.

    Args:
        parts: The sources; either all or none have times.
        catalogue: The items.
        recorded: The names that the actions' positions mean.

    Raises:
        DataError: An interaction names an unknown item, or there is none at all.
    """
    if sum(len(part.items) for part in parts) == 0:
        names = ", ".join(part.file.name for part in parts)
        raise DataError(names, None, None, "expected at least one interaction, there is none")
    known = pa.array(catalogue.item_ids, pa.string())
    rows = [_rows(part, known) for part in parts]
    users = _combined(pa.chunked_array([c for p in parts for c in p.users.chunks], pa.string()).dictionary_encode())
    actions = [np.broadcast_to(np.asarray(part.actions, dtype=np.int16), len(part.items)) for part in parts]
    return Interactions(
        user_ids=users.dictionary.to_pylist(),
        recorded=recorded,
        users=users.indices.to_numpy().astype(np.int32),
        rows=np.concatenate(rows),
        actions=np.concatenate(actions),
        values=np.concatenate([_values(part) for part in parts]),
        times=None if parts[0].times is None else np.concatenate([p.times for p in parts if p.times is not None]),
    )


def keep_last_repeats(interactions: Interactions, item_count: int) -> Interactions:
    """Of the interactions with the same person, item and recorded action keeps the last, by time, then position."""
    kept = last_repeats(interactions, item_count)
    return interactions if kept.all() else interactions.take(kept)


def last_repeats(interactions: Interactions, item_count: int) -> NDArray[np.bool_]:
    """bool[M], which interactions :func:`keep_last_repeats` keeps."""
    groups = interactions.actions.astype(np.int64)
    groups = (groups * len(interactions.user_ids) + interactions.users) * item_count + interactions.rows
    times = np.zeros(len(groups), np.int64) if interactions.times is None else interactions.times
    order = np.lexsort((times, groups))
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = groups[order][1:] != groups[order][:-1]
    kept = np.zeros(len(order), dtype=np.bool_)
    kept[order[last]] = True
    return kept


def fingerprint(files: Sequence[TableFile]) -> str:
    """The sha256 (hex) of the files' digests, in the order given."""
    return hashlib.sha256("\n".join(file.sha256 for file in files).encode()).hexdigest()


def _rows(part: Recorded, known: pa.Array) -> NDArray[np.int32]:
    rows = np.asarray(pc.fill_null(pc.index_in(part.items, value_set=known), -1).to_numpy(), dtype=np.int32)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        record = int(unknown[0])
        came = repr(part.items[record].as_py())
        raise part.file.error(record, part.item_column, f"expected an item of the catalogue, got {came}")
    return rows


def _values(part: Recorded) -> NDArray[np.float32]:
    if part.values is None:
        return np.full(len(part.items), np.nan, dtype=np.float32)
    return np.asarray(pc.fill_null(part.values, float("nan")).to_numpy(), dtype=np.float32)


def _combined(encoded: pa.ChunkedArray) -> pa.DictionaryArray:
    """One array with one dictionary."""
    if encoded.num_chunks == 0:
        return pa.array([], pa.string()).dictionary_encode()
    combined = encoded.unify_dictionaries().combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
