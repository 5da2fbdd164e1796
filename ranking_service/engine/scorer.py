"""Who scores candidates: a model server in serving, a model in process in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.errors import ModelAnswerInvalid
from twostage.features.history import HISTORY_LENGTH


class Scorer(Protocol):
    """Runs a ranker."""

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        """Scores candidates.

        Args:
            model: The model's name, a folder of the store's ``models/``.
            version: The version, which is the generation.
            inputs: Arrays by the names of twostage.features.model_inputs; N candidates. With ``candidate_rows`` among
                them they are for the model's signature of rows.
            timeout_seconds: How long it may take, above 0.

        Returns:
            [N, A], a probability for each action, in the order of the manifest.

        Raises:
            TwostageError: It cannot be done now; the subclass says why.
            RankingError: The model does not do what the bundle says.
        """


@runtime_checkable
class HistoryEffects(Protocol):
    """A scorer that can also tell what the history's entries did for a score; optional for scorers."""

    def history_effects(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any] | None:
        """Tells how far log odds fall when an entry of the history is left out.

        Args:
            model: The model's name.
            version: The version.
            inputs: As of :meth:`Scorer.score`, with N candidates, by value.
            timeout_seconds: How long it may take, above 0.

        Returns:
            [N, 50, A], 0 where there is no entry; None when the model does not tell.

        Raises:
            TwostageError: It cannot be done now; the subclass says why.
            RankingError: The model does not do what it says.
        """


def checked_effects(
    answer: NDArray[Any], model: str, version: int, candidate_count: int, action_count: int
) -> NDArray[np.float64]:
    """Refuses what explains nothing.

    Args:
        answer: What :meth:`HistoryEffects.history_effects` gave.
        model: The model's name, for the message.
        version: Its version, for the message.
        candidate_count: N.
        action_count: A.

    Returns:
        float64[N, 50, A], all finite.

    Raises:
        ModelAnswerInvalid: The shape is another, or not all are finite numbers.
    """
    wanted = (candidate_count, HISTORY_LENGTH, action_count)
    if answer.shape != wanted:
        raise ModelAnswerInvalid(model, version, f"effects of shape {wanted}", f"shape {answer.shape}")
    if answer.dtype.kind != "f" or not np.isfinite(answer).all():
        raise ModelAnswerInvalid(model, version, "finite effects", f"{answer.dtype} with NaN or infinity")
    return answer.astype(np.float64)


def checked_answer(
    answer: NDArray[Any], model: str, version: int, candidate_count: int, action_count: int
) -> NDArray[np.float32]:
    """Refuses what no ranking can be made of.

    Args:
        answer: What a scorer gave.
        model: The model's name, for the message.
        version: Its version, for the message.
        candidate_count: N.
        action_count: A.

    Returns:
        float32[N, A], all finite.

    Raises:
        ModelAnswerInvalid: The shape is another, the type is no number, or a score is NaN or infinite.
    """
    wanted = (candidate_count, action_count)
    if answer.shape != wanted:
        raise ModelAnswerInvalid(model, version, f"scores of shape {wanted}", f"shape {answer.shape}")
    if answer.dtype.kind != "f":
        raise ModelAnswerInvalid(model, version, "floating-point scores", str(answer.dtype))
    finite = np.isfinite(answer)
    if not finite.all():
        candidate, action = np.argwhere(~finite)[0].tolist()
        received = f"{answer[candidate, action]} for action {action} of candidate {candidate}"
        raise ModelAnswerInvalid(model, version, "finite scores", received)
    return np.asarray(answer, np.float32)
