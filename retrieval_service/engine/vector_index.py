"""What the engine asks of an index of item vectors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.row_selector import RowSelector


class VectorIndex(Protocol):
    """An index of the item vectors of one generation; safe to search from several threads at once."""

    def search(
        self, vector: NDArray[np.float32], count: int, selector: RowSelector | None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Finds the rows with the highest inner product.

        Args:
            vector: float32[D], L2-normalised.
            count: How many, 1 or more.
            selector: Which rows may be found; None for all.

        Returns:
            Rows and their inner products, the highest first, ties by row; exactly ``count`` of them, or all that the
            selector leaves when those are fewer. An approximate index may miss near rows, never return fewer.
        """
