"""Which buckets of a layer belong to which experiment, and which experiments get into each other's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from twostage.experiments.experiment import BUCKET_COUNT, Experiment


class Slot(NamedTuple):
    """An experiment's buckets in its layer, ``end`` not included."""

    start: int
    end: int
    experiment: Experiment


def allocate(experiments: Sequence[Experiment]) -> tuple[dict[str, list[Slot]], list[str]]:
    """Gives every experiment its buckets.

    Stated buckets are taken first. Then each experiment with a share gets the first gap that holds it, in the file's
    order: one that is added at the end moves nobody, one whose share changes may move those after it.

    Args:
        experiments: Of all layers, in the file's order.

    Returns:
        The slots of each layer, by their start; and what is wrong, a line each.
    """
    layers: dict[str, list[Slot]] = {}
    complaints = []
    for experiment in experiments:
        slots = layers.setdefault(experiment.layer, [])
        if experiment.buckets is None:
            continue
        slot = Slot(*experiment.buckets, experiment)
        taken = next((each for each in slots if each.start < slot.end and slot.start < each.end), None)
        if taken is not None:
            complaints.append(
                f"experiment {experiment.name!r}: buckets: expected buckets that no other experiment of layer "
                f"{experiment.layer!r} has, received [{slot.start}, {slot.end}], overlap with "
                f"{taken.experiment.name!r} [{taken.start}, {taken.end}]"
            )
            continue
        slots.append(slot)
        slots.sort(key=lambda each: each.start)
    for experiment in experiments:
        if experiment.buckets is not None:
            continue
        slots = layers[experiment.layer]
        share = 1.0 if experiment.traffic is None else experiment.traffic
        count = max(1, round(share * BUCKET_COUNT))
        start = _first_gap(slots, count)
        if start is None:
            free = BUCKET_COUNT - sum(slot.end - slot.start for slot in slots)
            complaints.append(
                f"experiment {experiment.name!r}: traffic: expected {share:g} of layer {experiment.layer!r} free in "
                f"one piece, overlap: {free / BUCKET_COUNT:g} is left beside "
                + ", ".join(repr(slot.experiment.name) for slot in slots)
            )
            continue
        slots.append(Slot(start, start + count, experiment))
        slots.sort(key=lambda each: each.start)
    return layers, complaints


def _first_gap(slots: Sequence[Slot], count: int) -> int | None:
    at = 0
    for slot in slots:
        if slot.start - at >= count:
            return at
        at = slot.end
    return at if BUCKET_COUNT - at >= count else None


def conflicts(experiments: Sequence[Experiment]) -> Iterator[str]:
    """What is wrong between experiments, a line each.

    Layers are independent, so that a unit can be in one experiment of each: two that override the same parameter in
    different layers would both have their say about one request, unless their conditions exclude each other.
    """
    for first, second in combinations(experiments, 2):
        if first.name == second.name:
            yield f"experiment {second.name!r}: name: expected each name once, received it again"
        if first.hash_salt == second.hash_salt and first.name != second.name:
            # The same people would be in the first arm of both.
            yield (
                f"experiment {second.name!r}: salt: expected a salt of its own, received {second.hash_salt!r}, which "
                f"is that of {first.name!r}"
            )
        if first.layer == second.layer:
            if first.unit != second.unit:
                yield (
                    f"experiment {second.name!r}: unit: expected {first.unit!r}, as {first.name!r} of the same layer "
                    f"{first.layer!r} has, received {second.unit!r}"
                )
            continue
        both = sorted(first.overridden & second.overridden)
        if both and first.enabled and second.enabled and not first.where.excludes(second.where):
            yield (
                f"experiment {second.name!r}: arms: expected parameters that no experiment of another layer overrides "
                f"for the same requests, received {', '.join(both)}, overlap with {first.name!r} of layer "
                f"{first.layer!r}"
            )
