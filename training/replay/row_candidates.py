"""Candidates as the retrieval engine gave them, for the gateway's engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twostage.candidates.source import Source


class RowCandidates:
    """Implements :class:`gateway.engine.stages.Candidates` over columns.

    Args:
        rows: uint32[C].
        scores: float32[C].
        sources: uint16[C], bit sets of :class:`twostage.candidates.source.Source`.
        source_ranks: uint32[C] for each source, as the engine gives them; empty unless asked for.
    """

    def __init__(
        self,
        rows: NDArray[np.uint32],
        scores: NDArray[np.float32],
        sources: NDArray[np.uint16],
        source_ranks: Mapping[Source, NDArray[np.uint32]] | None = None,
    ) -> None:
        self._rows = rows
        self._scores = scores
        self._sources = sources
        self._source_ranks = source_ranks or {}

    def __len__(self) -> int:
        """The number of candidates."""
        return len(self._rows)

    def rows(self) -> NDArray[np.uint32]:
        """uint32[C], the candidates' rows."""
        return self._rows

    def scores(self) -> NDArray[np.float32]:
        """float32[C], user vector · item vector."""
        return self._scores

    def score(self, index: int) -> float:
        """The retrieval score of one candidate."""
        return float(self._scores[index])

    def sources(self, index: int) -> Sequence[str]:
        """The names of the sources that found one candidate."""
        bits = int(self._sources[index])
        return tuple((source.name or "").lower() for source in Source if bits & source.value)

    def source_ranks(self, index: int) -> Mapping[str, int]:
        """The rank of one candidate in each source that found it, by name."""
        ranks = {(source.name or "").lower(): int(column[index]) for source, column in self._source_ranks.items()}
        return {name: rank for name, rank in ranks.items() if rank}

    def take(self, positions: Sequence[int]) -> Self:
        """The candidates at these positions, in this order."""
        chosen = np.asarray(positions, np.intp)
        ranks = {source: column[chosen] for source, column in self._source_ranks.items()}
        return type(self)(self._rows[chosen], self._scores[chosen], self._sources[chosen], ranks)
