"""The vectors that a benchmark works on, as ``benchmarks.retrieval.make_vectors`` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.searcher import NEAREST_FILE, QUERIES_FILE
from retrieval_service.engine.index.measurement import nearest_rows

_MOST_HELD_OUT = 500


@dataclass(frozen=True)
class VectorFolder:
    """Item vectors and user vectors.

    Args:
        path: The folder.
        vectors: float32[N, D], mapped.
        tuning_queries: float32[Q, D], the user vectors by which an index may be chosen.
        held_out_queries: float32[H, D], those by which everything is measured, at most 500.
    """

    path: Path
    vectors: NDArray[np.float32]
    tuning_queries: NDArray[np.float32]
    held_out_queries: NDArray[np.float32]

    @classmethod
    def open(cls, path: Path) -> VectorFolder:
        """Maps the vectors.

        Raises:
            click.ClickException: A file is absent or of another shape or type.
        """
        try:
            vectors = np.load(path / "vectors.npy", mmap_mode="r")
            queries = np.load(path / "queries.npy")
        except OSError as error:
            raise click.ClickException(f"{error}; python -m benchmarks.retrieval.make_vectors writes it") from None
        if vectors.dtype != np.float32 or vectors.ndim != 2 or queries.shape[1:] != vectors.shape[1:]:
            raise click.ClickException(
                f"{path}: expected vectors.npy float32[N, D] and queries.npy [Q, D], "
                f"received {vectors.dtype}{list(vectors.shape)} and {list(queries.shape)}"
            )
        held_out = min(_MOST_HELD_OUT, len(queries) // 2)
        if not held_out:
            raise click.ClickException(f"{path}: expected 2 or more queries, received {len(queries)}")
        # Plain arrays of mapped memory: NumPy's own class for them makes every index a slow one.
        return cls(path, np.asarray(vectors), queries[:-held_out], np.ascontiguousarray(queries[-held_out:]))

    def write_task(self, task: Path, at: int) -> None:
        """Writes the held-out queries and their exact neighbours for :mod:`benchmarks.retrieval.searcher`."""
        task.mkdir(parents=True, exist_ok=True)
        np.save(task / QUERIES_FILE, self.held_out_queries)
        np.save(task / NEAREST_FILE, nearest_rows(self.vectors, self.held_out_queries, at))
