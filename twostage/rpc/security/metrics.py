"""What is counted about files that change while a server runs, and when certificates end."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class SecurityMetrics:
    """How often files were read again, whether the newest ones are in force, and when certificates end.

    ``twostage_reloads_total{what, outcome}``, with outcome ``accepted`` or ``refused``;
    ``twostage_reload_refused{what}``, 1 while files are there that are not used because something is wrong with them;
    ``twostage_tls_certificate_expiry_timestamp_seconds{certificate}``, by the setting that names the file.

    Args:
        registry: Where they are registered; one of these to a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "twostage_reloads_total",
            "Files read again after they changed, by what they hold and outcome: accepted, refused.",
            ("what", "outcome"),
            registry=registry,
        )
        self._refused = Gauge(
            "twostage_reload_refused",
            "1 while changed files are not used because something is wrong with them.",
            ("what",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._expiry = Gauge(
            "twostage_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that is in use ends, in Unix seconds, by the setting that names its file.",
            ("certificate",),
            registry=registry,
            # The worker that is worst off.
            multiprocess_mode="livemin",
        )

    def start(self, what: str) -> None:
        """Shows the counters of some files before anything was counted."""
        for outcome in ("accepted", "refused"):
            self._reloads.labels(what, outcome)
        self._refused.labels(what).set(0)

    def accepted(self, what: str) -> None:
        """Counts a change that is in force."""
        self._reloads.labels(what, "accepted").inc()
        self._refused.labels(what).set(0)

    def refused(self, what: str) -> None:
        """Counts a change that is not."""
        self._reloads.labels(what, "refused").inc()
        self._refused.labels(what).set(1)

    def show_expiry(self, setting: str, unix_seconds: float | None) -> None:
        """States when the certificate that a setting names ends; nothing where there is none."""
        if unix_seconds is not None:
            self._expiry.labels(setting).set(unix_seconds)
