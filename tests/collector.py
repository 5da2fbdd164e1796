"""An OpenTelemetry collector: the real service of OTLP over gRPC, that keeps what it gets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class SeenSpan:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    status: int
    start_ns: int
    end_ns: int


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans."""

    def __init__(self) -> None:
        self.spans: list[SeenSpan] = []
        self.endpoint = ""
        self._changed = threading.Condition()

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002 - as the service has it
        with self._changed:
            for group in request.resource_spans:
                resource = {each.key: each.value.string_value for each in group.resource.attributes}
                for scope in group.scope_spans:
                    self.spans.extend(_seen(resource["service.name"], span) for span in scope.spans)
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait(self, count: int, seconds: float = 20.0) -> list[SeenSpan]:
        """The spans, once there are so many."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(self.spans) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"expected {count} spans, received {[span.name for span in self.spans]}"
                self._changed.wait(left)
            return list(self.spans)


def _seen(service: str, span: Any) -> SeenSpan:
    def value(content: Any) -> Any:
        if content.WhichOneof("value") == "array_value":
            return [each.string_value for each in content.array_value.values]
        return getattr(content, content.WhichOneof("value"))

    return SeenSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        {each.key: value(each.value) for each in span.attributes},
        span.status.code,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector."""
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()
