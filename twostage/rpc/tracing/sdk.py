"""A tracer that sends to a collector over OTLP and gRPC."""

from __future__ import annotations

import os
import socket

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from twostage.rpc.metrics import package_version
from twostage.rpc.tracing.export import Export
from twostage.rpc.tracing.spans import SdkTracer


def make_tracer(
    endpoint: str, share: float, service: str, registry: CollectorRegistry, logger: FilteringBoundLogger
) -> SdkTracer:
    """Makes a tracer.

    Args:
        endpoint: The collector, ``http://host:port``, or ``https://`` for TLS.
        share: The part of traces begun here that is recorded, 0..1; one that a caller began is recorded if they do.
        service: The server's short name.
        registry: Where it is counted what became of spans.
        logger: Told when the collector does not take them.

    Raises:
        ValueError: A variable that OpenTelemetry reads is wrong.
    """
    own = Resource.create(
        {
            "service.name": f"twostage-{service}",
            "service.version": package_version(),
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(share)),
        # What the environment says wins.
        resource=own.merge(OTELResourceDetector().detect()),
        # The server closes it, within its grace.
        shutdown_on_exit=False,
    )
    export = Export(OTLPSpanExporter(endpoint=endpoint), registry, logger)
    provider.add_span_processor(export)
    return SdkTracer(provider, export)
