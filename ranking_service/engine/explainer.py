"""Explains selected items: asks the ranker what the history's entries did, and brings both stages' parts together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.errors import RankingError
from ranking_service.engine.explanations import Explanation, blended_effects, explain, taste_mask
from ranking_service.engine.query import RankingQuery
from ranking_service.engine.scorer import HistoryEffects, Scorer, checked_effects
from twostage.bundle.generation import Generation
from twostage.errors import DeadlineSpent, TwostageError
from twostage.features.history import HISTORY_LENGTH

MAX_EFFECT_COUNT = 200
"""For how many items the ranker is asked: it runs once for each entry of the history and each of them."""

# What is left when the ranker is late must still bring the ranking home.
_EFFECTS_SHARE = 0.8


class Explainer:
    """Explains the items of one generation.

    Args:
        generation: The opened generation.
        item_vectors: [items, D] of the default tower, L2-normalised.
    """

    def __init__(self, generation: Generation, item_vectors: NDArray[Any]) -> None:
        manifest = generation.manifest
        self._number = generation.number
        self._schema = manifest.action_schema
        self._recorded = tuple(manifest.recorded_actions)
        self._item_vectors = item_vectors
        self._ids = generation.ids
        self._titles = generation.titles

    def explain(
        self,
        query: RankingQuery,
        rows: NDArray[np.uint32],
        effects: NDArray[np.float64] | None,
    ) -> list[list[Explanation]]:
        """Explains selected items.

        Args:
            query: What was asked.
            rows: uint32[K], the selected items.
            effects: Of :meth:`effects`.

        Returns:
            K lists; see ``ranking_service.engine.explanations.explain``.
        """
        newest = query.history.newest()
        count = len(newest)
        told = query.history_weights
        return explain(
            rows,
            newest.rows,
            taste_mask(newest, self._schema, self._recorded),
            self._item_vectors,
            lambda row: (self._ids[row], self._titles[row]),
            attention=None if told is None else told[len(told) - count :],
            effects=effects,
        )

    def effects(
        self,
        scorer: Scorer,
        model: str,
        inputs_of: Callable[[NDArray[np.intp]], Mapping[str, NDArray[Any]]],
        places: NDArray[np.intp],
        action_scores: NDArray[np.float32],
        weights: NDArray[np.float64],
        *,
        history_count: int,
        timeout_seconds: float,
    ) -> tuple[NDArray[np.float64] | None, str]:
        """Asks the ranker what each entry of the history did for the selected items.

        An answer matters less than the ranking that it explains, so nothing that goes wrong here is an error.

        Args:
            scorer: Who scored; not every scorer can tell.
            model: The model's name.
            inputs_of: Builds the ranker's inputs by value for candidates at some places.
            places: int[K], where the selected items stand among the candidates; the first 200 are asked for.
            action_scores: float32[K, A], of the selected items.
            weights: float64[A], of the blend.
            history_count: How many entries the history has.
            timeout_seconds: How long there is for all that is left to do; the ranker gets four fifths of it.

        Returns:
            float64[E, T] as of :func:`blended_effects` for the T newest entries, and nothing; or None, and why.
        """
        entry_count = min(history_count, HISTORY_LENGTH)
        if not entry_count or not len(places):
            return None, "there is nothing to explain"
        if not isinstance(scorer, HistoryEffects):
            return None, "the scorer does not tell effects"
        asked = places[:MAX_EFFECT_COUNT]
        begun = perf_counter()
        try:
            if timeout_seconds <= 0:
                raise DeadlineSpent("before the ranker was asked to explain")
            answer = scorer.history_effects(model, self._number, inputs_of(asked), _EFFECTS_SHARE * timeout_seconds)
            if answer is None:
                return None, f"model {model} does not tell effects"
            checked = checked_effects(answer, model, self._number, len(asked), len(weights))
        except TwostageError as error:
            return None, f"{error.message} ({perf_counter() - begun:.3f} s)"
        except RankingError as error:
            return None, str(error)
        return blended_effects(action_scores[:MAX_EFFECT_COUNT], checked[:, :entry_count], weights), ""
