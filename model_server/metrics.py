"""What is counted about requests, under the names and in the text of TensorFlow Serving's Prometheus page.

The real server exposes TensorFlow's own counters too; these are the three that are about requests. Names, labels and
limits: ``tensorflow_serving/servables/tensorflow/util.cc`` and ``util/prometheus_exporter.cc``.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping

_PREFIX = ":tensorflow:serving:"
# 10 µs growing by 1.8 to 1.5e9 µs, 25 minutes.
_LIMITS_US = tuple(10 * 1.8**step for step in range(33))
_LIMIT_TEXTS = (*(f"{limit:g}" for limit in _LIMITS_US), "+Inf")
# Names of models that do not exist come from clients; past this many, new ones are counted together.
_MAX_SERIES = 1000
# A name may be as long as a message.
_MAX_NAME_CHARACTERS = 1000
_OTHER_MODELS = "(other models)"

Labels = tuple[str, ...]


class Metrics:
    """Counts requests; safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[Labels, int] = {}
        self._request_latency: dict[Labels, _Histogram] = {}
        self._runtime_latency: dict[Labels, _Histogram] = {}

    def count_request(self, model: str, status: str) -> None:
        """Counts a request by how it ended.

        Args:
            model: The name that the request gave, which may be no model's.
            status: The code's name, e.g. ``NOT_FOUND``.
        """
        labels = (model, status)
        with self._lock:
            full = len(self._requests) >= _MAX_SERIES or len(model) > _MAX_NAME_CHARACTERS
            if full and labels not in self._requests:
                labels = (_OTHER_MODELS, status)
            self._requests[labels] = self._requests.get(labels, 0) + 1

    def time_request(self, model: str, method: str, entrypoint: str, microseconds: float) -> None:
        """Notes how long a request took that went well.

        Args:
            model: A model that exists.
            method: E.g. ``Predict``.
            entrypoint: ``GRPC`` or ``REST``.
            microseconds: From the call of the handler to its answer.
        """
        self._observe(self._request_latency, (model, method, entrypoint), microseconds)

    def time_run(self, model: str, method: str, microseconds: float) -> None:
        """Notes how long the graph of a request took that went well."""
        self._observe(self._runtime_latency, (model, method, "TF1"), microseconds)

    def expose(self) -> str:
        """Writes everything in Prometheus's text format."""
        with self._lock:
            requests = dict(self._requests)
            request_latency = {labels: one.copy() for labels, one in self._request_latency.items()}
            runtime_latency = {labels: one.copy() for labels, one in self._runtime_latency.items()}
        lines = [f"# TYPE {_PREFIX}request_count counter"]
        lines += [
            f"{_PREFIX}request_count{{{_pairs(('model_name', 'status'), labels)}}} {count}"
            for labels, count in requests.items()
        ]
        lines += _histogram_lines("request_latency", ("model_name", "API", "entrypoint"), request_latency)
        lines += _histogram_lines("runtime_latency", ("model_name", "API", "runtime"), runtime_latency)
        return "\n".join(lines) + "\n"

    def _observe(self, histograms: dict[Labels, _Histogram], labels: Labels, microseconds: float) -> None:
        bucket = bisect_left(_LIMITS_US, microseconds)
        with self._lock:
            histogram = histograms.get(labels)
            if histogram is None:
                histogram = histograms[labels] = _Histogram([0] * len(_LIMIT_TEXTS), 0.0)
            histogram.counts[bucket] += 1
            histogram.total_us += microseconds


class _Histogram:
    __slots__ = ("counts", "total_us")

    def __init__(self, counts: list[int], total_us: float) -> None:
        self.counts = counts
        self.total_us = total_us

    def copy(self) -> _Histogram:
        return _Histogram(self.counts.copy(), self.total_us)


def _histogram_lines(name: str, label_names: tuple[str, ...], histograms: Mapping[Labels, _Histogram]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} histogram"
    for labels, histogram in histograms.items():
        pairs = _pairs(label_names, labels)
        count = 0
        for limit, in_bucket in zip(_LIMIT_TEXTS, histogram.counts, strict=True):
            count += in_bucket
            yield f'{_PREFIX}{name}_bucket{{{pairs},le="{limit}"}} {count}'
        yield f"{_PREFIX}{name}_sum{{{pairs}}} {histogram.total_us}"
        yield f"{_PREFIX}{name}_count{{{pairs}}} {count}"


def _pairs(names: tuple[str, ...], values: Labels) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    # The real server leaves line breaks as they are, which tears its page.
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
