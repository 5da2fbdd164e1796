"""Sends spans to a collector in the background; a request never waits for that, and what finds no room is counted."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter
from structlog.typing import FilteringBoundLogger

_DEFAULT_QUEUE_SPANS = 2048
_QUEUE_VARIABLE = "OTEL_BSP_MAX_QUEUE_SIZE"


class Export(SpanProcessor):
    """The way from a span's end to the collector.

    Spans wait in a queue of at most 2,048 (``OTEL_BSP_MAX_QUEUE_SIZE``), those that are being sent included; one thread
    sends them in batches. One that finds the queue full is dropped, so a collector that is slow or gone costs spans and
    nothing else.

    ``twostage_trace_spans_total{outcome}`` counts them: sent, failed, dropped.

    Args:
        exporter: Sends a batch.
        registry: Where the counter is registered.
        logger: Told when the collector stops taking spans, and when it takes them again.
    """

    def __init__(self, exporter: SpanExporter, registry: CollectorRegistry, logger: FilteringBoundLogger) -> None:
        spans = Counter(
            "twostage_trace_spans_total",
            "Spans of sampled requests by outcome: sent, failed (the collector did not take them), dropped (they found "
            "the queue full).",
            ("outcome",),
            registry=registry,
        )
        self._sent, self._failed, self._dropped = (spans.labels(outcome) for outcome in ("sent", "failed", "dropped"))
        self._logger = logger
        self._delivering = True
        self._lock = threading.Lock()
        self._waiting_count = 0
        self._max_count = _queue_size()
        self._exporter = exporter
        # We say once what the library says at every attempt.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._batches = BatchSpanProcessor(_Counting(self), max_queue_size=self._max_count)

    def on_end(self, span: ReadableSpan) -> None:
        """Takes a span that has ended."""
        with self._lock:
            if self._waiting_count >= self._max_count:
                self._dropped.inc()
                return
            self._waiting_count += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Ends it as :meth:`close` does; for the SDK."""
        self.close(0.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what waits; for the SDK."""
        return self._batches.force_flush(timeout_millis)

    def close(self, seconds: float) -> None:
        """Sends what waits within so many seconds; what is left then is lost."""
        deadline = time.monotonic() + seconds
        # Its own end waits for the exporter, which may try again and again.
        ending = threading.Thread(target=self._batches.shutdown, name="last traces", daemon=True)
        ending.start()
        ending.join(max(deadline - time.monotonic(), 0.0))
        if ending.is_alive():
            # Interrupts an attempt's wait.
            self._exporter.shutdown()

    def send(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends a batch, in the background thread."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._lock:
                self._waiting_count -= len(spans)
            delivered = result is SpanExportResult.SUCCESS
            (self._sent if delivered else self._failed).inc(len(spans))
            if delivered != self._delivering:
                self._delivering = delivered
                if delivered:
                    self._logger.info("traces are taken again")
                else:
                    self._logger.warning("traces are not taken by the collector", span_count=len(spans))
        return result

    def end_exporter(self) -> None:
        """Ends the exporter."""
        self._exporter.shutdown()


class _Counting(SpanExporter):
    """The exporter, counted."""

    def __init__(self, export: Export) -> None:
        self._export = export

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._export.send(spans)

    def shutdown(self) -> None:
        self._export.end_exporter()


def _queue_size() -> int:
    text = os.environ.get(_QUEUE_VARIABLE, "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else _DEFAULT_QUEUE_SPANS
