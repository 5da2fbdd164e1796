"""Records to columns and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from twostage.impressions.impression import Impression
from twostage.impressions.logged_event import LoggedEvent
from twostage.impressions.schema import EVENT_SCHEMA, IMPRESSION_SCHEMA


def impression_batch(impressions: Sequence[Impression]) -> pa.RecordBatch:
    """Answers as columns.

    Raises:
        pa.ArrowException, TypeError, ValueError: A field is not of its column's type.
    """
    return _batch(impressions, IMPRESSION_SCHEMA)


def event_batch(events: Sequence[LoggedEvent]) -> pa.RecordBatch:
    """Events as columns.

    Raises:
        pa.ArrowException, TypeError, ValueError: A field is not of its column's type.
    """
    return _batch(events, EVENT_SCHEMA)


def impressions_of(batch: pa.RecordBatch) -> Iterator[Impression]:
    """The answers of a batch, whose columns may be more than those known here and in any order.

    Raises:
        KeyError: A column is missing.
    """
    columns = [_values(batch.column(name)) for name in Impression._fields]
    return (Impression(*values) for values in zip(*columns, strict=True))


def _batch(records: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    if not records:
        return pa.RecordBatch.from_pylist([], schema)
    columns = zip(*records, strict=True)
    return pa.RecordBatch.from_arrays(
        [_column(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    # Built from one flat list: several times as fast as from a list of lists.
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(entry) for entry in values], out=ends[1:])
    flat: Any
    if any(isinstance(entry, np.ndarray) for entry in values):
        # An empty list among arrays would have NumPy make floats of them all.
        dtype = kind.value_type.to_pandas_dtype()
        flat = np.concatenate([np.asarray(entry, dtype) for entry in values])
    else:
        flat = list(chain.from_iterable(values))
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat, kind.value_type), type=kind)


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return [tuple(entry) for entry in values] if pa.types.is_list(column.type) else values
