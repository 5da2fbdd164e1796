"""A column of one number for each item."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.number_order import NumberOrder


class NumberColumn:
    """One number for each item.

    Args:
        numbers: float64[N], NaN where unknown.
        order: The rows by number; None builds it when it is first needed, as for bundles older than it.
    """

    def __init__(self, numbers: NDArray[np.float64], order: NumberOrder | None = None) -> None:
        self.numbers = numbers
        self._order = order
        self._building = Lock()

    @classmethod
    def open(cls, folder: Path, item_count: int) -> NumberColumn:
        """Maps the column in ``folder``.

        Raises:
            BundleCorrupt: A file is absent or does not fit the others.
        """
        numbers = map_array(folder / "numbers.npy", shape=(item_count,))
        return cls(numbers, NumberOrder.open(folder, item_count=item_count))

    @staticmethod
    def write(folder: Path, numbers: NDArray[np.floating]) -> None:
        """Writes a column of float[N], NaN where unknown."""
        column = numbers.astype(np.float64)
        write_array(folder / "numbers.npy", column)
        NumberOrder.build(column).write(folder)

    @property
    def order(self) -> NumberOrder:
        """The rows by number."""
        order = self._order
        if order is None:
            with self._building:
                order = self._order
                if order is None:
                    order = self._order = NumberOrder.build(self.numbers)
        return order
