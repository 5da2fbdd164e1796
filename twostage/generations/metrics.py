"""What is counted of the generations that a process holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# A tiny bundle takes a tenth of a second; sums of hundreds of gigabytes take an hour.
_SECONDS_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600)


class GenerationMetrics:
    """What a server exposes of its generations beside the number of the active one.

    ``twostage_generation_swaps_total``, ``twostage_generation_swap_seconds``, ``twostage_generations_refused_total``,
    ``twostage_generations_held``.

    Args:
        registry: Where they are registered.
        set_generation: Called with a number and ``active`` or ``previous``; the server's own gauge.
    """

    def __init__(self, registry: CollectorRegistry, set_generation: Callable[[int, str], None]) -> None:
        self._set_generation = set_generation
        self._swaps = Counter(
            "twostage_generation_swaps_total", "Times another generation became active.", registry=registry
        )
        self._seconds = Histogram(
            "twostage_generation_swap_seconds",
            "Seconds from the start of a generation's preparation to its serving.",
            registry=registry,
            buckets=_SECONDS_BUCKETS,
        )
        self._refused = Counter(
            "twostage_generations_refused_total", "Times a generation was prepared and refused.", registry=registry
        )
        self._held = Gauge(
            "twostage_generations_held", "Generations held.", registry=registry, multiprocess_mode="livemin"
        )

    def prepared(self, seconds: float) -> None:
        """Counts a generation that was prepared and serves."""
        self._seconds.observe(seconds)

    def refused(self) -> None:
        """Counts a generation that was refused."""
        self._refused.inc()

    def hold(self, numbers: Sequence[int], *, swapped: bool) -> None:
        """States what is held.

        Args:
            numbers: The active generation first.
            swapped: True when another one became active.
        """
        if swapped:
            self._swaps.inc()
        self._held.set(len(numbers))
        for state, number in zip(("active", "previous"), numbers, strict=False):
            self._set_generation(number, state)
