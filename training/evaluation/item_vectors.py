"""Content vectors by which the variety of a list is judged, the same for every model."""

from __future__ import annotations

import re

import numpy as np
from scipy.sparse import csr_array

from training.data.dataset import Catalogue

_WORD = re.compile(r"\w+")


def content_vectors(catalogue: Catalogue) -> csr_array:
    """One dimension per value of a categorical or multi-valued column, weighted by its rarity.

    A value that n of N items have weighs ln(N / n); a column's value is a dimension of its own. A catalogue that has
    neither kind of column is described by the words of its text columns instead. Vectors learnt by a model would
    favour that model.

    Args:
        catalogue: The items.

    Returns:
        CSR float64 [N, D]; an item without values has an empty row.
    """
    schema = catalogue.schema
    owners: list[int] = []
    dimensions: list[int] = []
    index: dict[tuple[str, str], int] = {}
    columns = [*schema.categorical, *schema.multi_valued] or list(schema.text)
    for name in columns:
        for row, cell in enumerate(catalogue.columns.column(name).to_pylist()):
            if cell is None:
                continue
            if name in schema.multi_valued:
                values = set(cell)
            elif name in schema.categorical:
                values = {cell}
            else:
                values = set(_WORD.findall(cell.lower()))
            for value in sorted(values):
                owners.append(row)
                dimensions.append(index.setdefault((name, value), len(index)))
    shape = (len(catalogue), max(len(index), 1))
    frequency = np.bincount(np.array(dimensions, dtype=np.int64), minlength=shape[1])
    weights = np.log(len(catalogue) / np.maximum(frequency, 1))
    data = weights[np.array(dimensions, dtype=np.int64)]
    return csr_array((data, (owners, dimensions)), shape=shape)
