"""Published rankers run in this process, as the model server would run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from ranking_service.engine.errors import ModelAnswerInvalid
from twostage.bundle.manifest import RankerEntry
from twostage.features.model_inputs import ACTION_SCORES, BY_ROW, CANDIDATE_ROWS, HISTORY_EFFECTS


class SavedModelScorer:
    """A Scorer and HistoryEffects of ranking_service.engine.scorer over SavedModels, whatever version is asked for.

    A model is loaded when it is first asked.

    Args:
        paths: The SavedModels' folders, by the models' names.
        signatures: Their signatures that read features, ``serving_default`` where none is named.
        row_signatures: Their signatures that read rows, ``by_row`` where none is named.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        signatures: Mapping[str, str] | None = None,
        row_signatures: Mapping[str, str] | None = None,
    ) -> None:
        self._paths = dict(paths)
        self._signatures = dict(signatures or {})
        self._row_signatures = dict(row_signatures or {})
        # A signature does not keep the model's variables alive.
        self._models: dict[str, Any] = {}

    def score(
        self,
        model: str,
        version: int,
        inputs: Mapping[str, NDArray[Any]],
        timeout_seconds: float,  # noqa: ARG002 - the protocol's signature
    ) -> NDArray[Any]:
        """Scores candidates.

        Raises:
            ModelAnswerInvalid: There is no such model, or it lacks the signature.
        """
        if CANDIDATE_ROWS in inputs:
            name = self._row_signatures.get(model, BY_ROW)
        else:
            name = self._signatures.get(model, "serving_default")
        signatures = self._load(model, version).signatures
        if name not in signatures:
            raise ModelAnswerInvalid(model, version, f"signature {name}", ", ".join(signatures))
        signature = signatures[name]
        answer = signature(**{name: tf.constant(array) for name, array in inputs.items()})
        scores: NDArray[Any] = answer[ACTION_SCORES].numpy()
        return scores

    def history_effects(
        self,
        model: str,
        version: int,
        inputs: Mapping[str, NDArray[Any]],
        timeout_seconds: float,  # noqa: ARG002 - the protocol's signature
    ) -> NDArray[Any] | None:
        """Tells what the history's entries did; None when the model was exported without that signature.

        Raises:
            ModelAnswerInvalid: There is no such model.
        """
        signatures = self._load(model, version).signatures
        if HISTORY_EFFECTS not in signatures:
            return None
        answer = signatures[HISTORY_EFFECTS](**{name: tf.constant(array) for name, array in inputs.items()})
        effects: NDArray[Any] = answer[HISTORY_EFFECTS].numpy()
        return effects

    def _load(self, model: str, version: int) -> Any:
        if model not in self._models:
            if model not in self._paths:
                raise ModelAnswerInvalid(model, version, f"one of the models {', '.join(self._paths)}", "another")
            self._models[model] = tf.saved_model.load(str(self._paths[model]))
        return self._models[model]


def saved_model_scorer(store_path: Path, generation: int, rankers: Mapping[str, RankerEntry]) -> SavedModelScorer:
    """A scorer over a published generation's rankers.

    Args:
        store_path: The store's local folder.
        generation: The generation's number.
        rankers: The manifest's entries.
    """
    return SavedModelScorer(
        {entry.model: store_path / "models" / entry.model / str(generation) for entry in rankers.values()},
        {entry.model: entry.signature for entry in rankers.values()},
        {entry.model: entry.by_row.signature for entry in rankers.values() if entry.by_row is not None},
    )
