"""What a user store in Redis tells its operators."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class UserStoreMetrics:
    """Counts ``twostage_gateway_user_store_not_asked_total`` and ``twostage_gateway_user_records_unreadable_total``.

    Args:
        registry: Where the counters are registered; one object to a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._not_asked = Counter(
            "twostage_gateway_user_store_not_asked_total",
            "Times that the user store was not asked because it did not answer a moment before.",
            registry=registry,
        )
        self._unreadable = Counter(
            "twostage_gateway_user_records_unreadable_total",
            "Events left out because what the user store holds of them cannot be read, each time that it is met.",
            registry=registry,
        )

    def not_asked(self) -> None:
        """Counts a time that the store was not asked."""
        self._not_asked.inc()

    def unreadable(self, count: int) -> None:
        """Counts events that cannot be read."""
        self._unreadable.inc(count)
