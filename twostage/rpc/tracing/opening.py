"""From a service's settings to its tracer, or to none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from twostage.rpc.settings import ServiceSettings, SettingsError

if TYPE_CHECKING:
    from twostage.rpc.tracing.current import Tracer

CLOSE_SECONDS = 5.0
"""The longest that a stopping server waits for its last spans to be taken, within its grace."""


def open_tracer(
    settings: ServiceSettings, service: str, registry: CollectorRegistry, logger: FilteringBoundLogger
) -> Tracer | None:
    """Makes the tracer that the settings ask for.

    OpenTelemetry is imported only where there is a ``trace_endpoint``.

    Args:
        settings: ``trace_endpoint`` and ``trace_share``.
        service: The server's short name; its spans' ``service.name`` is ``twostage-<service>`` unless the environment
            says otherwise.
        registry: Where it is counted what became of spans.
        logger: Told when the collector does not take them.

    Returns:
        None where nothing is traced.

    Raises:
        SettingsError: The extra ``tracing`` is not installed, or a variable of OpenTelemetry's is wrong.
    """
    endpoint = settings.trace_endpoint
    if endpoint is None:
        return None
    try:
        from twostage.rpc.tracing.sdk import make_tracer  # noqa: PLC0415 - most services trace nothing
    except ImportError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise SettingsError(
            f"trace_endpoint: expected the extra `tracing` to be installed (pip install 'twostage[tracing]'), "
            f"received {endpoint!r} without it"
        ) from error
    try:
        return make_tracer(endpoint, settings.trace_share, service, registry, logger)
    except ValueError as error:
        raise SettingsError(f"trace_endpoint: expected OTEL_* variables that can be read, received: {error}") from error
