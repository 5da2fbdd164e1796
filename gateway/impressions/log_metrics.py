"""What the log tells its operators."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.impressions.record_queue import Dropped
from twostage.impressions.schema import SCHEMAS


class LogMetrics:
    """Counts records and files, by ``log``: ``impressions`` or ``events``.

    ``twostage_gateway_log_written_total{log}``, ``twostage_gateway_log_dropped_total{log, reason}``,
    ``twostage_gateway_log_files_total{log}``, ``twostage_gateway_log_files_deleted_total``,
    ``twostage_gateway_log_queue_records{log}``.

    Args:
        registry: Where they are registered; one to a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        written = Counter(
            "twostage_gateway_log_written_total", "Records in complete files.", ("log",), registry=registry
        )
        dropped = Counter(
            "twostage_gateway_log_dropped_total",
            "Records that are not logged: queue_full, too_large, io_error, invalid, closed.",
            ("log", "reason"),
            registry=registry,
        )
        files = Counter("twostage_gateway_log_files_total", "Files completed.", ("log",), registry=registry)
        queue = Gauge("twostage_gateway_log_queue_records", "Records waiting.", ("log",), registry=registry)
        self.deleted = Counter(
            "twostage_gateway_log_files_deleted_total", "Files deleted by the rules of retention.", registry=registry
        )
        self.written = {kind: written.labels(kind) for kind in SCHEMAS}
        self.files = {kind: files.labels(kind) for kind in SCHEMAS}
        self.queue = {kind: queue.labels(kind) for kind in SCHEMAS}
        self.dropped = {(kind, reason): dropped.labels(kind, reason.value) for kind in SCHEMAS for reason in Dropped}
