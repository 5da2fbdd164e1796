"""The inputs of a ranker that holds the items' features itself: rows instead of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.features.context import Context, encode_context
from twostage.features.history import History, pack_history
from twostage.features.model_inputs import (
    CANDIDATE_ROWS,
    CONTEXT,
    HISTORY_CODES,
    HISTORY_NUMBERS,
    RETRIEVAL_SCORES,
    ROW_INPUTS,
)


class RowInputs:
    """Builds exactly the inputs that one ranker's signature of rows reads; no table is opened for it.

    Args:
        inputs: The names it reads, of twostage.features.model_inputs.ROW_INPUTS.

    Raises:
        ValueError: A name is unknown, or the candidates' rows are not among them.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        unknown = [name for name in inputs if name not in ROW_INPUTS]
        if unknown or CANDIDATE_ROWS not in inputs:
            received = ", ".join(unknown) if unknown else f"no {CANDIDATE_ROWS}"
            raise ValueError(f"by_row.inputs: expected names among {', '.join(ROW_INPUTS)}, received {received}")
        self._inputs = tuple(inputs)

    def gather(
        self, history: History, context: Context, rows: NDArray[np.uint32], retrieval_scores: NDArray[np.float32]
    ) -> dict[str, NDArray[Any]]:
        """Builds the inputs for one request; see ``ranking_service.engine.features.FeatureGatherer.gather``."""
        codes, numbers = pack_history(history, context.time_seconds)
        known: dict[str, NDArray[Any]] = {
            HISTORY_CODES: codes,
            HISTORY_NUMBERS: numbers,
            CONTEXT: encode_context(context, len(history)),
            # Rows are below 2^31: they were compared with the number of items, whose table TensorFlow holds.
            CANDIDATE_ROWS: rows.view(np.int32),
            RETRIEVAL_SCORES: np.asarray(retrieval_scores, np.float32),
        }
        return {name: known[name] for name in self._inputs}
