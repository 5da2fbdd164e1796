from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry
from structlog.testing import CapturingLogger

from twostage.rpc.tracing.export import Export


class Exporter(SpanExporter):
    """Takes spans, or refuses or holds them."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.result = SpanExportResult.SUCCESS
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert self.open.wait(30)
        self.taken.extend(span.name for span in spans)
        return self.result

    def shutdown(self) -> None:
        self.open.set()


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, queue: int = 8, batch: int = 4) -> None:
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(queue))
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(batch))
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        self.exporter = Exporter()
        self.registry = CollectorRegistry()
        self.logger: Any = CapturingLogger()
        self.export = Export(self.exporter, self.registry, self.logger)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self.export)
        self.tracer = provider.get_tracer("test")

    def make(self, count: int) -> None:
        for number in range(count):
            self.tracer.start_span(str(number)).end()

    def counted(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("twostage_trace_spans_total", {"outcome": outcome})

    def until(self, outcome: str, count: float) -> None:
        end = time.monotonic() + 20
        while self.counted(outcome) != count:
            assert time.monotonic() < end, f"{outcome} is {self.counted(outcome)}, not {count}"
            time.sleep(0.01)


def test_what_finds_the_queue_full_is_dropped_and_counted_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.exporter.open.clear()
    before = time.monotonic()
    world.make(100)
    assert time.monotonic() - before < 5
    assert world.counted("dropped") == 92
    world.exporter.open.set()
    world.export.close(20)
    assert world.counted("sent") == 8
    assert len(world.exporter.taken) == 8


def test_the_end_sends_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, queue=100, batch=100)
    world.make(30)
    world.export.close(20)
    assert (world.counted("sent"), len(world.exporter.taken)) == (30, 30)


def test_the_end_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.exporter.open.clear()
    world.make(4)
    before = time.monotonic()
    world.export.close(0.1)
    assert time.monotonic() - before < 5


def test_a_collector_that_takes_nothing_is_told_of_once_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.exporter.result = SpanExportResult.FAILURE
    for count in (4, 8):
        world.make(4)
        world.until("failed", count)
    world.exporter.result = SpanExportResult.SUCCESS
    world.make(4)
    world.until("sent", 4)
    world.export.close(20)
    told = [(call.method_name, call.args[0]) for call in world.logger.calls]
    assert told == [("warning", "traces are not taken by the collector"), ("info", "traces are taken again")]


@pytest.mark.parametrize("text", ["", "many", "0", "-3"])
def test_a_size_that_is_none_is_the_usual_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.export.close(5)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", text)
    export = Export(Exporter(), CollectorRegistry(), world.logger)
    export.close(5)
    assert export._max_count == 2048
