"""Which items of a person's history carried a recommendation, and how much, as both stages see it.

Retrieval finds by the inner product of an item's vector with the user vector, which is the attention-weighted sum of
the history's vectors, scaled to unit length. ``attention · similarity`` is therefore exactly an entry's part of the
retrieval score before the scaling. The ranker is asked instead of reckoned: how far the log odds of an item fall when
an entry is left out of what it reads. The two need not agree, and both are told.

What carried an item most is found by an average of two shares: of all positive parts in the retrieval score the
entry's, and of all positive effects on the ranker the entry's. A half each, because an item must pass both stages to be
recommended. Where the ranker was not asked, the first share decides alone; where attention is not known, all entries
count alike in it. Nothing that speaks against an item is ever named as its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.features.actions import ActionSchema
from twostage.features.history import History

MAX_EXPLANATION_COUNT = 3
"""How many items of the history are named for an item at most."""

_LEAST_TOLD_EFFECT = 0.005
_LEAST_ODDS = 1e-12


@dataclass(frozen=True)
class Explanation:
    """What one item of the history did for a recommended item.

    Args:
        row: The history's item. Of one that stands there several times the entries' numbers are added.
        item_id: Its id.
        title: Its title, empty when unknown.
        similarity: The cosine of the two items' vectors.
        attention: The part of the user vector that comes from it; None when retrieval did not tell.
        match_share: Its share of all that speaks for the item in the retrieval score; None likewise.
        ranking_effect: How far the log odds of the blended score fall without it; None when the ranker was not asked.
    """

    row: int
    item_id: str
    title: str
    similarity: float
    attention: float | None = None
    match_share: float | None = None
    ranking_effect: float | None = None

    @property
    def retrieval_part(self) -> float:
        """Its part of the retrieval score before that is scaled to unit length; 0 when not known."""
        return 0.0 if self.attention is None else self.attention * self.similarity


def taste_mask(history: History, schema: ActionSchema, recorded: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Which entries speak of taste, bool[H].

    Args:
        history: Oldest first. An entry whose action is not known counts as taste.
        schema: Says which actions are taste, e.g. a rating of 4 is and one of 2 is not.
        recorded: The names that the history's action codes count from 1.
    """
    codes = history.actions - 1
    mask: NDArray[np.bool_] = schema.taste_mask(recorded, codes, history.values) | (codes < 0)
    return mask


def blended_effects(
    action_scores: NDArray[np.float32], effects: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far the log odds of the blended score fall when an entry of the history is left out.

    With ``p`` the probabilities of the actions, ``e`` the falls of their log odds and ``w`` the blend's weights it is
    ``logit(Σ w p) - logit(Σ w sigmoid(logit(p) - e))``: what the score that is shown would have been.

    Args:
        action_scores: float32[K, A].
        effects: [K, L, A].
        weights: float64[A], of sum 1.

    Returns:
        float64[K, L].
    """
    log_odds = _logit(action_scores.astype(np.float64))[:, np.newaxis, :] - effects
    without = np.exp(-np.logaddexp(0.0, -log_odds)) @ weights
    return _logit(action_scores.astype(np.float64) @ weights)[:, np.newaxis] - _logit(without)


def _logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probabilities, _LEAST_ODDS, 1.0 - _LEAST_ODDS)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def explain(
    rows: NDArray[np.uint32],
    history_rows: NDArray[np.uint32],
    nameable: NDArray[np.bool_],
    item_vectors: NDArray[Any],
    name_of: Callable[[int], tuple[str, str]],
    *,
    attention: NDArray[np.float32] | None = None,
    effects: NDArray[np.float64] | None = None,
) -> list[list[Explanation]]:
    """Finds what carried each item.

    Args:
        rows: uint32[K], the recommended items.
        history_rows: uint32[T], the entries that the models read, oldest first; repeats are one item.
        nameable: bool[T], which may be named, e.g. those that speak of taste.
        item_vectors: [items, D], L2-normalised.
        name_of: A row's id and title.
        attention: float32[T], the part of each entry in the user vector; None when retrieval did not tell.
        effects: float64[E, T], of :func:`blended_effects` for the first E items; None when the ranker was not asked.

    Returns:
        K lists of at most three, what carried most first, ties by the newest; empty where nothing did. An item does not
        explain itself.
    """
    if not len(rows) or not nameable.any():
        return [[] for _ in range(len(rows))]
    # The newest first, so that a stable order prefers them.
    items = np.array(list(dict.fromkeys(history_rows[::-1].tolist())), np.uint32)
    member = (history_rows[:, np.newaxis] == items).astype(np.float64)
    similarity = item_vectors[rows].astype(np.float64) @ item_vectors[items].astype(np.float64).T
    weight = np.ones(len(items)) if attention is None else attention @ member
    match = _shares(similarity * weight)
    carried = match
    by_item = np.zeros((0, len(items)))
    if effects is not None:
        by_item = effects @ member
        carried = match.copy()
        carried[: len(by_item)] = (match[: len(by_item)] + _shares(by_item)) / 2
    silent = (nameable @ member) == 0
    carried = np.where(silent | (rows[:, np.newaxis] == items), 0.0, carried)
    best = np.argsort(-carried, axis=1, kind="stable")[:, :MAX_EXPLANATION_COUNT]
    return [
        [
            Explanation(
                int(items[column]),
                *name_of(int(items[column])),
                similarity=float(similarity[place, column]),
                attention=None if attention is None else float(weight[column]),
                match_share=None if attention is None else float(match[place, column]),
                ranking_effect=float(by_item[place, column]) if place < len(by_item) else None,
            )
            for column in columns
            if carried[place, column] > 0
        ]
        for place, columns in enumerate(best.tolist())
    ]


def _shares(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what is positive in a row each one's share; 0 for the rest."""
    positive = np.maximum(parts, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    return positive / np.where(total > 0, total, 1.0)


def in_words(explanation: Explanation) -> str:
    """An explanation as a sentence; what is not known, or is too small to matter, is left out.

    E.g. ``because of Emma (41% of the match, likeness 0.83; without it the ranker's odds fall by 12%)``.
    """
    return f"because of {explanation.title or explanation.item_id} ({_facts(explanation)})"


def _facts(explanation: Explanation) -> str:
    match = []
    if explanation.match_share:
        match.append(f"{_percent(explanation.match_share)} of the match")
    if explanation.similarity > 0 or not match:
        match.append(f"likeness {explanation.similarity:.2f}")
    effect = explanation.ranking_effect
    if effect is None or abs(effect) < _LEAST_TOLD_EFFECT:
        return ", ".join(match)
    change = math.expm1(-effect)
    odds = f"without it the ranker's odds {'fall' if change < 0 else 'rise'} by {_percent(abs(change))}"
    return f"{', '.join(match)}; {odds}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.01 else "under 1%"
