"""A catalogue's content as the item tower reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Catalogue
from twostage.features.item_encoding import Columns, EncodedItems, EncodingConfig, ItemEncoder


def content_columns(catalogue: Catalogue, rows: NDArray[np.integer] | None = None) -> Columns:
    """The schema's columns as Python values.

    Args:
        catalogue: The items.
        rows: Which items, all when None.
    """
    table = catalogue.columns if rows is None else catalogue.columns.take(rows)
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in catalogue.schema.columns}
    return columns


def encode_catalogue(
    catalogue: Catalogue, config: EncodingConfig, fit_rows: NDArray[np.integer] | None = None
) -> tuple[ItemEncoder, EncodedItems]:
    """Fits an encoder and encodes every item.

    Args:
        catalogue: The items.
        config: The encoding's sizes.
        fit_rows: The items whose content the encoder may learn from, all when None.
    """
    encoder = ItemEncoder.fit(catalogue.schema, content_columns(catalogue, fit_rows), config)
    return encoder, encoder.encode(content_columns(catalogue))
