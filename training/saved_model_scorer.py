"""A published ranker run in this process, as the model server would run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from twostage.features.model_inputs import ACTION_SCORES


class SavedModelScorer:
    """A ranking_service.engine.scorer.Scorer over one SavedModel, whatever model and version are asked for.

    Args:
        path: The SavedModel's folder.
        signature: Its signature.
    """

    def __init__(self, path: Path, signature: str = "serving_default") -> None:
        # A signature does not keep the model's variables alive.
        self._model = tf.saved_model.load(str(path))
        self._signature = self._model.signatures[signature]

    def score(
        self,
        model: str,  # noqa: ARG002 - the protocol's signature
        version: int,  # noqa: ARG002
        inputs: Mapping[str, NDArray[Any]],
        timeout_seconds: float,  # noqa: ARG002
    ) -> NDArray[Any]:
        """Scores candidates."""
        answer = self._signature(**{name: tf.constant(array) for name, array in inputs.items()})
        scores: NDArray[Any] = answer[ACTION_SCORES].numpy()
        return scores
