"""A servable whose runs are timed for the metrics of one request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from model_server.metrics import Metrics
from model_server.servable import Servable


class TimedServable:
    """Stands for a servable while it answers one request.

    Args:
        servable: What runs.
        metrics: Gets the time of each run that goes well.
        model: The model's name.
        method: What metrics call the call, e.g. ``Predict``.
    """

    __slots__ = ("_method", "_metrics", "_model", "_run", "check_method_names", "path", "signatures")

    def __init__(self, servable: Servable, metrics: Metrics, model: str, method: str) -> None:
        self._run = servable.run
        self._metrics = metrics
        self._model = model
        self._method = method
        self.signatures = servable.signatures
        self.path = servable.path
        self.check_method_names = servable.check_method_names

    def run(
        self, feeds: Sequence[tuple[Any, NDArray[Any]]], fetches: Sequence[Any], timeout_ms: int | None
    ) -> list[NDArray[Any]]:
        """Runs the graph; see ``Servable.run``."""
        began = time.perf_counter()
        outputs = self._run(feeds, fetches, timeout_ms)
        self._metrics.time_run(self._model, self._method, (time.perf_counter() - began) * 1e6)
        return outputs
