from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.unit.twostage.generations.made_store import MadeStore
from twostage.bundle.errors import BundleCorrupt
from twostage.generations.metrics import GenerationMetrics


def test_swaps_refusals_and_what_is_held_are_counted(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    states: list[tuple[int, str]] = []
    metrics = GenerationMetrics(registry, lambda number, state: states.append((number, state)))
    made = MadeStore(tmp_path)
    made.publish(1)
    keeper = made.keeper(metrics=metrics)
    keeper.start()
    made.publish(2)
    keeper.look()
    made.faults[3] = BundleCorrupt("a", "b", "c")
    made.publish(3)
    keeper.look()
    made.point(1)
    keeper.look()

    def value(name: str) -> float | None:
        return registry.get_sample_value(name)

    assert value("twostage_generation_swaps_total") == 2
    assert value("twostage_generations_refused_total") == 1
    assert value("twostage_generations_held") == 2
    assert value("twostage_generation_swap_seconds_count") == 2
    assert states == [(1, "active"), (2, "active"), (1, "previous"), (1, "active"), (2, "previous")]
