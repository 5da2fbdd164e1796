"""Columns of a data set's items as codes, without a Python object for each item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from twostage.bundle.coded_values import CodedValues


def coded_column(items: Path, name: str, item_count: int) -> CodedValues | None:
    """The strings of the first items, one or a list for each.

    Args:
        items: The data's Parquet file.
        name: The column.
        item_count: How many items.

    Returns:
        None when the file has no such column or fewer items.
    """
    if name not in pq.read_schema(items).names:
        return None
    table = pq.read_table(items, columns=[name])
    if len(table) < item_count:
        return None
    column = table.column(name).slice(0, item_count).combine_chunks()
    if pa.types.is_list(column.type):
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        values = column.flatten()
    else:
        counts = pc.is_valid(column).to_numpy(zero_copy_only=False).astype(np.int64)
        values = column.drop_null()
    encoded = values.dictionary_encode()
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return CodedValues(offsets, encoded.indices.to_numpy().astype(np.uint32), encoded.dictionary.to_pylist())
