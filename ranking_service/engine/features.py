"""The inputs of a ranker, gathered by row from the bundle's mapped tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import RankerEntry
from twostage.features.context import Context, encode_context
from twostage.features.history import HISTORY_LENGTH, History, pad_history
from twostage.features.model_inputs import (
    CANDIDATE_FEATURES,
    CONTEXT,
    HISTORY_ACTIONS,
    HISTORY_AGES_DAYS,
    HISTORY_FEATURES,
    HISTORY_MASK,
    HISTORY_VALUES,
    RANKER_INPUTS,
    RETRIEVAL_SCORES,
)

_PADDED_INPUTS = frozenset({HISTORY_FEATURES, HISTORY_MASK, HISTORY_ACTIONS, HISTORY_VALUES, HISTORY_AGES_DAYS})


class FeatureGatherer:
    """Builds exactly the inputs that one ranker reads.

    Args:
        inputs: The names it reads, of twostage.features.model_inputs.
        candidate_table: [items, C], float32 or float16; sent in that type.
        history_table: [items, H], likewise; None when the ranker reads no ``history_features``.

    Raises:
        ValueError: A name is unknown, a table is missing or is no table of float32 or float16.
    """

    def __init__(
        self, inputs: Sequence[str], candidate_table: NDArray[Any], history_table: NDArray[Any] | None = None
    ) -> None:
        unknown = [name for name in inputs if name not in RANKER_INPUTS]
        if unknown:
            raise ValueError(f"inputs: expected names among {', '.join(RANKER_INPUTS)}, received {', '.join(unknown)}")
        if HISTORY_FEATURES in inputs and history_table is None:
            raise ValueError(f"inputs: expected a history table for {HISTORY_FEATURES}, received none")
        for table in (candidate_table, history_table):
            if table is not None and (table.ndim != 2 or table.dtype not in (np.float32, np.float16)):
                raise ValueError(
                    f"table: expected [items, width] of float32 or float16, received {table.dtype}{list(table.shape)}"
                )
        self._inputs = tuple(inputs)
        self._pads_history = not _PADDED_INPUTS.isdisjoint(inputs)
        self._candidate_table = candidate_table
        self._history_table = history_table

    @classmethod
    def open(cls, generation: Generation, entry: RankerEntry) -> Self:
        """Maps the tables of a ranker.

        Raises:
            BundleCorrupt: A table is absent, has not one row for each item, or does not fit the ranker.
        """
        shape = (generation.item_count, None)
        candidates = generation.array(entry.candidate_table, shape=shape)
        history = generation.array(entry.history_table, shape=shape) if entry.history_table is not None else None
        try:
            return cls(entry.inputs, candidates, history)
        except ValueError as error:
            raise BundleCorrupt(generation.path, f"a usable ranker {entry.model}", str(error)) from error

    def gather(
        self, history: History, context: Context, rows: NDArray[np.uint32], retrieval_scores: NDArray[np.float32]
    ) -> dict[str, NDArray[Any]]:
        """Builds the inputs for one request.

        Args:
            history: Oldest first, any length; the newest 50 entries are used.
            context: Where and when.
            rows: uint32[N], each below the number of items; not checked here.
            retrieval_scores: float32[N].

        Returns:
            Arrays by name, as twostage.features.model_inputs documents them; padding is 0 everywhere.
        """
        gathered: dict[str, NDArray[Any]] = {}
        padded = pad_history(history, context.time_seconds) if self._pads_history else None
        for name in self._inputs:
            if name == CANDIDATE_FEATURES:
                # "clip" skips a second pass over the rows, which were checked when they came in.
                gathered[name] = np.take(self._candidate_table, rows, axis=0, mode="clip")
            elif name == RETRIEVAL_SCORES:
                gathered[name] = np.asarray(retrieval_scores, np.float32)
            elif name == CONTEXT:
                gathered[name] = encode_context(context, len(history))
            elif name == HISTORY_FEATURES:
                gathered[name] = self._history_features(history)
            elif padded is not None:
                gathered[name] = {
                    HISTORY_MASK: padded.mask,
                    HISTORY_ACTIONS: padded.actions,
                    HISTORY_VALUES: padded.values,
                    HISTORY_AGES_DAYS: padded.ages_days,
                }[name]
        return gathered

    def _history_features(self, history: History) -> NDArray[Any]:
        assert self._history_table is not None
        rows = history.newest().rows
        features = np.zeros((1, HISTORY_LENGTH, self._history_table.shape[1]), self._history_table.dtype)
        if len(rows):
            # Padding stays 0 rather than showing item 0 to a model that forgets its mask.
            np.take(self._history_table, rows, axis=0, mode="clip", out=features[0, : len(rows)])
        return features
