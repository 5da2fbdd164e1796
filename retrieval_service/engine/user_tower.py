"""A person's history as one vector, by the user tower in LiteRT."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from twostage.bundle.errors import BundleCorrupt
from twostage.features.model_inputs import HISTORY_MASK, HISTORY_VECTORS, HISTORY_WEIGHTS, USER_VECTOR


class UserTower:
    """A user tower; safe to call from several threads, each of which has an interpreter of its own.

    Args:
        path: The .tflite file.
        dimension: D, of item and user vectors alike.
        history_length: L, how many history entries it reads.

    Raises:
        BundleCorrupt: The file is absent or no model, or has other inputs or outputs than those of
            `twostage.features.model_inputs`, or answers something else than numbers.
    """

    def __init__(self, path: Path, dimension: int, history_length: int) -> None:
        if not path.is_file():
            raise BundleCorrupt(path, "a LiteRT model", "no file")
        # Read, not mapped: threads that come later must find it even when the generation has been removed.
        self._model = path.read_bytes()
        self._dimension = dimension
        self._history_length = history_length
        self._local = threading.local()
        try:
            own = self._own()
        except (ValueError, RuntimeError) as error:
            raise BundleCorrupt(path, "a LiteRT model", " ".join(str(error).split())[:200]) from error
        problem = own.problem()
        if problem is not None:
            raise BundleCorrupt(path, *problem)
        probe = np.full((1, dimension), dimension**-0.5, np.float32)
        # A conversion that loses its weights answers NaN, and nothing later would say so.
        if not np.isfinite(self.encode(probe)).all():
            raise BundleCorrupt(path, "a user tower that answers numbers", "NaN or infinity")

    @property
    def history_length(self) -> int:
        """L, how many history entries it reads."""
        return self._history_length

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encodes a history.

        Args:
            vectors: float32[H, D], the item vectors of the newest entries, oldest first, H from 1 to L.

        Returns:
            float32[D], L2-normalised.
        """
        return self._run(vectors).vector()

    def encode_weighing(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Encodes a history and tells what each entry weighs in the vector.

        Args:
            vectors: As of :meth:`encode`.

        Returns:
            float32[D], and float32[H] of sum 1; None for the weights when the tower does not tell them.
        """
        own = self._run(vectors)
        return own.vector(), own.weights(len(vectors))

    def _run(self, vectors: NDArray[np.float32]) -> _ThreadTower:
        own = self._own()
        count = len(vectors)
        own.vectors[0, :count] = vectors
        own.vectors[0, count:] = 0.0
        own.mask[0, :count] = 1.0
        own.mask[0, count:] = 0.0
        own.run()
        return own

    def _own(self) -> _ThreadTower:
        own: _ThreadTower | None = getattr(self._local, "tower", None)
        if own is None:
            own = self._local.tower = _ThreadTower(self._model, self._history_length, self._dimension)
        return own


class _ThreadTower:
    """The interpreter of one thread with the arrays that it is fed from."""

    def __init__(self, model: bytes, history_length: int, dimension: int) -> None:
        self.vectors = np.zeros((1, history_length, dimension), np.float32)
        self.mask = np.zeros((1, history_length), np.float32)
        self._interpreter = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        # The runner resolves names; it is not used to run, for it resizes and allocates on every call.
        runner = self._interpreter.get_signature_runner()
        self._inputs: dict[str, Any] = runner.get_input_details()
        self._outputs: dict[str, Any] = runner.get_output_details()
        if self.problem() is None:
            self._vectors_index = self._inputs[HISTORY_VECTORS]["index"]
            self._mask_index = self._inputs[HISTORY_MASK]["index"]
            self._output_index = self._outputs[USER_VECTOR]["index"]
            weights = self._outputs.get(HISTORY_WEIGHTS)
            self._weights_index = None if weights is None else weights["index"]

    def problem(self) -> tuple[str, str] | None:
        """What inputs and outputs should be and are, or None when they are what they should be."""
        _, length, dimension = self.vectors.shape
        wanted = {
            HISTORY_VECTORS: f"float32[1, {length}, {dimension}]",
            HISTORY_MASK: f"float32[1, {length}]",
            USER_VECTOR: f"float32[1, {dimension}]",
        }
        if HISTORY_WEIGHTS in self._outputs:
            wanted[HISTORY_WEIGHTS] = wanted[HISTORY_MASK]
        found = {name: _describe(detail) for name, detail in {**self._inputs, **self._outputs}.items()}
        if found == wanted and set(self._outputs) <= {USER_VECTOR, HISTORY_WEIGHTS}:
            return None
        return _list(wanted), _list(found)

    def run(self) -> None:
        """Runs the tower on what stands in ``vectors`` and ``mask``."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._vectors_index, self.vectors)
        interpreter.set_tensor(self._mask_index, self.mask)
        interpreter.invoke()

    def vector(self) -> NDArray[np.float32]:
        """float32[D], of the last run."""
        vector: NDArray[np.float32] = self._interpreter.get_tensor(self._output_index)[0]
        return vector

    def weights(self, count: int) -> NDArray[np.float32] | None:
        """float32[count], of the last run; None when the tower does not tell."""
        if self._weights_index is None:
            return None
        weights: NDArray[np.float32] = self._interpreter.get_tensor(self._weights_index)[0, :count]
        return weights


def _describe(detail: dict[str, Any]) -> str:
    return f"{np.dtype(detail['dtype']).name}{[int(size) for size in detail['shape']]}"


def _list(tensors: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in sorted(tensors.items()))
