"""The trace of a program that calls the gateway, where that program traces itself with OpenTelemetry."""

from __future__ import annotations

import sys

from twostage.rpc.tracing.current import Metadata


def trace_of_caller() -> Metadata | None:
    """What makes a call part of the trace that is current in this program.

    A program that has not imported OpenTelemetry has no trace, and pays nothing.

    Returns:
        None where there is no trace.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items()) or None
