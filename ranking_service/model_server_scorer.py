"""Scores candidates on a model server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from ranking_service.engine.errors import ModelAnswerInvalid
from twostage.bundle.manifest import RankerEntry
from twostage.errors import DeadlineSpent, NotReady, Overloaded
from twostage.features.model_inputs import CANDIDATE_ROWS, HISTORY_EFFECTS
from twostage.tfserving.client import ModelServerClient
from twostage.tfserving.errors import (
    ModelNotFound,
    ModelServerDeadline,
    ModelServerError,
    ModelServerOverloaded,
    ModelServerUnavailable,
    RequestRejected,
    ResponseInvalid,
    SignatureNotFound,
    TensorError,
    WrongVersion,
)

# A model server's queue of a few requests is worked off in about this time.
_RETRY_AFTER_SECONDS = 0.05


class ModelServerScorer:
    """A ``ranking_service.engine.scorer.Scorer`` that asks a model server at the generation's version.

    Args:
        client: The connection.
        rankers: The rankers that may be asked; they say which signatures and output of a model are meant.

    Raises:
        ValueError: Two rankers share a model and differ in signatures or output.
    """

    def __init__(self, client: ModelServerClient, rankers: Iterable[RankerEntry]) -> None:
        self._client = client
        self._endpoints: dict[str, tuple[str, str, str]] = {}
        # Models that do not explain themselves.
        self._silent: set[tuple[str, int]] = set()
        for entry in rankers:
            endpoint = (entry.signature, "" if entry.by_row is None else entry.by_row.signature, entry.output)
            if self._endpoints.setdefault(entry.model, endpoint) != endpoint:
                raise ValueError(f"model {entry.model}: expected the same signatures and output for all its rankers")

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        """Asks the model server; see the protocol.

        Raises:
            NotReady: It is not reachable, or does not hold the model at this version.
            DeadlineSpent: It did not answer in time.
            Overloaded: Too many calls are in flight, here or there.
            ModelAnswerInvalid: The model has another signature than the manifest says.
        """
        by_value, by_row, output = self._endpoints[model]
        signature = by_row if CANDIDATE_ROWS in inputs else by_value
        try:
            return self._ask(model, version, inputs, timeout_seconds, signature, output)
        except SignatureNotFound as error:
            raise self._invalid(model, version, inputs, signature, output, error) from error

    def history_effects(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any] | None:
        """Asks the model's second signature; see ``ranking_service.engine.scorer.HistoryEffects``.

        Returns:
            As the protocol says; None for a model without that signature, which is asked for it once.

        Raises:
            NotReady, DeadlineSpent, Overloaded, ModelAnswerInvalid: As :meth:`score`.
        """
        if (model, version) in self._silent:
            return None
        try:
            return self._ask(model, version, inputs, timeout_seconds, HISTORY_EFFECTS, HISTORY_EFFECTS)
        except SignatureNotFound:
            self._silent.add((model, version))
            return None

    def _ask(
        self,
        model: str,
        version: int,
        inputs: Mapping[str, NDArray[Any]],
        timeout_seconds: float,
        signature: str,
        output: str,
    ) -> NDArray[Any]:
        try:
            outputs = self._client.predict(
                model, version, inputs, timeout_seconds=timeout_seconds, signature=signature, outputs=(output,)
            )
        except ModelServerDeadline as error:
            raise DeadlineSpent("waiting for the model server") from error
        except ModelServerOverloaded as error:
            raise Overloaded(_RETRY_AFTER_SECONDS) from error
        except ModelServerUnavailable as error:
            raise NotReady("the model server does not answer", self._detail(error)) from error
        except ModelNotFound as error:
            raise NotReady(
                f"the model server does not hold model {model} version {version}", self._detail(error)
            ) from error
        except SignatureNotFound:
            raise
        except WrongVersion as error:
            raise ModelAnswerInvalid(model, version, "an answer of this version", error.message) from error
        except (RequestRejected, ResponseInvalid, TensorError) as error:
            raise self._invalid(model, version, inputs, signature, output, error) from error
        except ModelServerError as error:
            raise NotReady(f"the model server failed with {error.code.name}", self._detail(error)) from error
        try:
            return outputs[output]
        except KeyError:
            received = ", ".join(outputs) or "no output"
            raise ModelAnswerInvalid(model, version, f"output {output}", received) from None

    def _invalid(
        self, model: str, version: int, inputs: Iterable[str], signature: str, output: str, error: Exception
    ) -> ModelAnswerInvalid:
        expected = f"signature {signature} with inputs {', '.join(inputs)} and output {output}"
        return ModelAnswerInvalid(model, version, expected, str(error))

    def _detail(self, error: ModelServerError) -> str:
        """Where the model server is and what was said there; callers need to know neither."""
        return f"model server at {self._client.target}: {error.message}"
