"""What is asked of the ranking engine and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.explanations import Explanation
from twostage.features.context import Context
from twostage.features.diversity import Cap
from twostage.features.history import History


@dataclass(frozen=True)
class SelectionPolicy:
    """What may be done to the order of the scores.

    Args:
        strength: 0 keeps the order of the scores, 1 looks at unlikeness alone; 0 by default.
        caps: Limits by attribute; none by default.
        pinned_rows: Rows that stand first, in this order, when they are candidates; none by default.
    """

    strength: float = 0.0
    caps: tuple[Cap, ...] = ()
    pinned_rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class RankingQuery:
    """One request for a ranking.

    Args:
        history: What the person did, oldest first, any length.
        context: Where and when.
        candidate_rows: uint32[N], rows of the generation; repeated ones count once, where they stand first.
        retrieval_scores: float32[N], user vector · item vector, finite.
        count: How many items are wanted, 1 or more.
        ranker: A ranker of the bundle; its default when empty.
        blend: Weights by action, 0 or more; the ranker's own when empty.
        selection: What may be done to the order.
        attributes: Attributes to describe each item by.
        explain: True asks for reasons.
        trace: True asks for each item's rank before selection.
        history_weights: float32[H], the part of each entry of the history in the user vector, as retrieval told it,
            for explanations; None when it did not tell.
        by_value: True scores by features also where the model holds them itself, to compare the two ways.
    """

    history: History
    context: Context
    candidate_rows: NDArray[np.uint32]
    retrieval_scores: NDArray[np.float32]
    count: int
    ranker: str = ""
    blend: Mapping[str, float] = field(default_factory=dict)
    selection: SelectionPolicy = SelectionPolicy()
    attributes: tuple[str, ...] = ()
    explain: bool = False
    trace: bool = False
    history_weights: NDArray[np.float32] | None = None
    by_value: bool = False


class ShortfallReason(Enum):
    """Why fewer items are answered than were asked for."""

    TOO_FEW_CANDIDATES = "too few candidates"
    """Fewer distinct candidates were given than items asked for, whatever the selection policy did besides."""
    SELECTION_POLICY = "selection policy"
    """There were enough candidates; the caps let too few through."""


@dataclass(frozen=True)
class Shortfall:
    """How many items are missing, 1 or more, and why."""

    missing_count: int
    reason: ShortfallReason


@dataclass(frozen=True)
class RankedItems:
    """The selected items, best first, as parallel columns of length K.

    Args:
        ranker: The ranker that scored.
        actions: The names of the A actions that the ranker predicts.
        rows: uint32[K].
        scores: float64[K], the blends.
        action_scores: float32[K, A], a probability for each action.
        candidate_indices: int64[K], where each item stood among the candidates given, from 0.
        ranking_ranks: int64[K], positions by score before the selection policy, from 1; None unless traced.
        item_ids: K ids.
        titles: K titles, empty when unknown.
        attributes: K mappings from attribute to text, unknown ones left out; empty unless asked for.
        explanations: K lists of what carried each item; empty unless asked for.
        shortfall: None when K is the count asked for.
        timings_ms: Milliseconds by step, in order: gather, model_server, blend, select, explain when asked for,
            describe.
        effects_missing: Why explanations are without the ranker's part; empty when they have it or are not asked for.
    """

    ranker: str
    actions: tuple[str, ...]
    rows: NDArray[np.uint32]
    scores: NDArray[np.float64]
    action_scores: NDArray[np.float32]
    candidate_indices: NDArray[np.int64]
    ranking_ranks: NDArray[np.int64] | None
    item_ids: Sequence[str]
    titles: Sequence[str]
    attributes: Sequence[Mapping[str, str]]
    explanations: Sequence[Sequence[Explanation]]
    shortfall: Shortfall | None
    timings_ms: Mapping[str, float]
    effects_missing: str = ""

    def __len__(self) -> int:
        """The number of items."""
        return len(self.rows)
