"""Which scored candidates are recommended, in which order. Pure functions over positions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CapRule:
    """A cap with access to the values it counts.

    Args:
        codes_of: The codes of a row's values.
        max_count: How many selected items may share a code, 1 or more.
    """

    codes_of: Callable[[int], Iterable[int]]
    max_count: int


class _CapCounts:
    """How often each value was selected so far."""

    def __init__(self, rules: Sequence[CapRule]) -> None:
        self._counted = [(rule, defaultdict[int, int](int)) for rule in rules]

    def admits(self, row: int) -> bool:
        """Says whether one more item with this row's values stays within every cap."""
        for rule, counts in self._counted:
            for code in rule.codes_of(row):
                if counts[code] >= rule.max_count:
                    return False
        return True

    def add(self, row: int) -> None:
        """Counts a selected item."""
        for rule, counts in self._counted:
            for code in rule.codes_of(row):
                counts[code] += 1


def first_occurrences(rows: NDArray[np.uint32]) -> NDArray[np.intp] | None:
    """The positions where each row stands first, ascending; None when no row is repeated."""
    in_order = np.sort(rows)
    if not (in_order[1:] == in_order[:-1]).any():
        return None
    return np.sort(np.unique(rows, return_index=True)[1])


def descending(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """The positions by score, highest first, ties by position."""
    return np.argsort(-scores, kind="stable")


def select(
    rows: NDArray[np.uint32],
    scores: NDArray[np.float64],
    order: NDArray[np.intp],
    count: int,
    *,
    strength: float = 0.0,
    vectors: NDArray[np.float32] | None = None,
    caps: Sequence[CapRule] = (),
    pinned_rows: Sequence[int] = (),
) -> NDArray[np.intp]:
    """Selects up to ``count`` candidates.

    Pinned candidates stand first, whatever they score and whatever the caps say: they are somebody's decision. They
    count for the caps and for unlikeness, so what follows makes room for them. The others follow by score, or with
    ``strength`` above 0 by maximal marginal relevance; a candidate that would break a cap is passed over.

    Args:
        rows: uint32[N], distinct.
        scores: float64[N].
        order: The positions by score from :func:`descending`.
        count: How many are wanted, 1 or more.
        strength: 0..1, as for :func:`_marginal_relevance`.
        vectors: float32[N, D], L2-normalised; needed when ``strength`` is above 0.
        caps: Limits.
        pinned_rows: Rows that stand first when they are candidates.

    Returns:
        Distinct positions, best first: exactly ``min(count, N)`` when there are no caps, perhaps fewer with them.
    """
    if strength <= 0 and not caps and not pinned_rows:
        return order[:count]
    counts = _CapCounts(caps)
    position_of = {row: position for position, row in enumerate(rows.tolist())} if pinned_rows else {}
    pinned = list(dict.fromkeys(position_of[row] for row in pinned_rows if row in position_of))[:count]
    for position in pinned:
        counts.add(int(rows[position]))
    rest = order[~np.isin(order, pinned)] if pinned else order
    offered: Iterator[int]
    if strength > 0:
        if vectors is None:
            raise ValueError("vectors: expected the candidates' vectors because strength is above 0, received none")
        offered = _marginal_relevance(scores, vectors, rest, pinned, strength, lambda p: counts.admits(int(rows[p])))
    else:
        offered = (p for p in rest.tolist() if counts.admits(int(rows[p])))
    selected = pinned
    while len(selected) < count:
        following = next(offered, None)
        if following is None:
            break
        selected.append(following)
        counts.add(int(rows[following]))
    return np.array(selected, np.intp)


def _marginal_relevance(
    scores: NDArray[np.float64],
    vectors: NDArray[np.float32],
    rest: NDArray[np.intp],
    selected: Sequence[int],
    strength: float,
    admits: Callable[[int], bool],
) -> Iterator[int]:
    """Yields positions by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    The next is the one with the greatest ``(1 - strength) · relevance - strength · likeness``, where relevance is the
    score scaled to 0..1 over the candidates and likeness the greatest cosine with anything selected before; ties by
    score. Scores are scaled because probabilities of rare actions all lie close together, cosines do not.

    Args:
        scores: float64[N].
        vectors: float32[N, D], L2-normalised.
        rest: The positions to choose from, best score first.
        selected: Positions that were selected before.
        strength: Above 0, at most 1.
        admits: Whether a position may be selected now; one refused once is never offered again, because caps only
            tighten.
    """
    if not len(rest):
        return
    low, high = scores.min(), scores.max()
    relevance = (scores[rest] - low) / (high - low) if high > low else np.zeros(len(rest))
    weighted = (1.0 - strength) * relevance
    candidates = vectors[rest]
    likeness = (candidates @ vectors[selected].T).max(axis=1) if len(selected) else None
    worth = weighted.copy() if likeness is None else weighted - strength * likeness
    for _ in range(len(rest)):
        best = int(np.argmax(worth))
        # Taken or refused: out of every later comparison, also when worth is computed anew.
        worth[best] = weighted[best] = -np.inf
        if not admits(int(rest[best])):
            continue
        yield int(rest[best])
        similarity = candidates @ candidates[best]
        likeness = similarity if likeness is None else np.maximum(likeness, similarity)
        worth = weighted - strength * likeness
