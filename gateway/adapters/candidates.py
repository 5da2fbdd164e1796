"""Candidates in the message in which retrieval gives them and ranking takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twostage.v1 import retrieval_pb2

_NAMES = {value: name.removeprefix("SOURCE_").lower() for name, value in retrieval_pb2.Source.items() if value > 0}

_NUMBERS = {name: retrieval_pb2.Source.Value(f"SOURCE_{name.upper()}") for name in _NAMES.values()}


class CandidateMessage:
    """Candidates in the message in which they came, because ranking takes them in the same one.

    Implements :class:`gateway.engine.stages.Candidates`.

    Args:
        message: Columns of one length.
    """

    __slots__ = ("message",)

    def __init__(self, message: retrieval_pb2.CandidateColumns) -> None:
        self.message = message

    def __len__(self) -> int:
        """The number of candidates."""
        return len(self.message.rows)

    def rows(self) -> NDArray[np.uint32]:
        """uint32[C], the candidates' rows."""
        return np.array(self.message.rows, np.uint32)

    def scores(self) -> NDArray[np.float32]:
        """float32[C], user vector · item vector."""
        return np.array(self.message.scores, np.float32)

    def score(self, index: int) -> float:
        """The retrieval score of one candidate."""
        return float(self.message.scores[index])

    def sources(self, index: int) -> Sequence[str]:
        """The names of the sources that found one candidate."""
        return source_names(self.message.sources[index])

    def source_ranks(self, index: int) -> Mapping[str, int]:
        """The rank of one candidate in each source that found it, by name, from 1; empty unless they were asked for."""
        return {
            _NAMES[column.source]: rank
            for column in self.message.source_ranks
            # A source that this program does not know comes from a newer retrieval service.
            if (rank := column.ranks[index]) and column.source in _NAMES
        }

    def take(self, positions: Sequence[int]) -> Self:
        """The candidates at these positions, in this order."""
        columns = self.message
        return type(self)(
            retrieval_pb2.CandidateColumns(
                rows=[columns.rows[position] for position in positions],
                scores=[columns.scores[position] for position in positions],
                sources=[columns.sources[position] for position in positions],
                item_ids=[columns.item_ids[position] for position in positions] if columns.item_ids else (),
                source_ranks=[
                    retrieval_pb2.SourceRanks(
                        source=ranks.source, ranks=[ranks.ranks[position] for position in positions]
                    )
                    for ranks in columns.source_ranks
                ],
            )
        )


def source_number(name: str) -> int | None:
    """A source by its name, e.g. ``user_vector``; None for one that this program does not know."""
    return _NUMBERS.get(name)


def source_names(bits: int) -> tuple[str, ...]:
    """The names of a bit set of sources, e.g. ``("user_vector", "popular")``."""
    known = _NAMES_OF_BITS.get(bits)
    if known is None:
        # Bits of sources that this program does not know, from a newer retrieval service.
        known = _spelled_out(bits)
    return known


def _spelled_out(bits: int) -> tuple[str, ...]:
    return tuple(name for value, name in _NAMES.items() if bits & 1 << value - 1)


_NAMES_OF_BITS = {bits: _spelled_out(bits) for bits in range(1 << len(_NAMES))}
