"""Who is in which arm: a pure function of the file and of the unit's id.

A unit has one bucket in each layer,

    bucket = xxh3_64("layer" ␟ layer ␟ unit) mod 1,000,000

where ␟ is the byte 0x1f, and the experiment that has the bucket has the unit. Its arm is drawn by weighted rendezvous
hashing (Schindelhauer and Schomaker, Weighted distributed hash tables, SPAA 2005): with

    h = xxh3_64("arm" ␟ salt ␟ arm ␟ unit)          u = (h + 0.5) / 2^64

it is the arm with the least -ln(u) / weight, an exponential variable with the arm's weight as its rate, so that an arm
wins with probability weight / sum of weights. An arm that is added takes units from all others in proportion and moves
nobody between those; likewise one that is removed or whose weight changes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from twostage.experiments.allocation import Slot, allocate, conflicts
from twostage.experiments.experiment import BUCKET_COUNT, Condition, Experiment

_SEPARATOR = "\x1f"
_RANGE = float(1 << 64)


def bucket_of(layer: str, unit: str) -> int:
    """A unit's bucket in a layer, 0..999,999."""
    return int(xxhash.xxh3_64_intdigest(_prefix("layer", layer) + _encode(unit))) % BUCKET_COUNT


class Assigned(NamedTuple):
    """An experiment that a request is in: its position among the file's, and its arm's; 0 where two are interleaved."""

    experiment_index: int
    arm_index: int


class _Choice:
    """An experiment, prepared for requests; slots, because every request reads some."""

    __slots__ = ("condition", "enabled", "end", "index", "prefixes", "weights")

    def __init__(self, index: int, slot: Slot) -> None:
        experiment = slot.experiment
        self.index = index
        self.end = slot.end
        self.enabled = experiment.enabled
        self.condition = None if experiment.where == Condition() else experiment.where
        arms = experiment.arms if experiment.kind == "ab" else ()
        self.prefixes = [_prefix("arm", experiment.hash_salt, arm.name) for arm in arms]
        self.weights = [arm.weight for arm in arms]

    def draw(self, unit: bytes) -> int:
        """The position of the unit's arm."""
        if len(self.weights) < 2:
            return 0
        best, least = 0, math.inf
        for place, prefix in enumerate(self.prefixes):
            uniform = (xxhash.xxh3_64_intdigest(prefix + unit) + 0.5) / _RANGE
            draw = -math.log(uniform) / self.weights[place]
            if draw < least:
                best, least = place, draw
        return best


class _Layer:
    __slots__ = ("by_person", "choices", "prefix", "starts")

    def __init__(self, name: str, slots: Sequence[Slot], indices: dict[str, int]) -> None:
        self.prefix = _prefix("layer", name)
        self.by_person = slots[0].experiment.unit == "user_id"
        self.starts = [slot.start for slot in slots]
        self.choices = [_Choice(indices[slot.experiment.name], slot) for slot in slots]


class Assignment:
    """Assigns requests to the experiments of one file.

    Args:
        experiments: In the file's order.

    Raises:
        ValueError: They do not fit together; its arguments are the complaints, a line each.

    Attributes:
        experiments: As given.
        layers: The slots of each layer, by their start.
    """

    def __init__(self, experiments: Sequence[Experiment] = ()) -> None:
        self.experiments = tuple(experiments)
        self.layers, complaints = allocate(self.experiments)
        complaints += conflicts(self.experiments)
        if complaints:
            raise ValueError(*complaints)
        indices = {experiment.name: index for index, experiment in enumerate(self.experiments)}
        self._layers = [_Layer(name, slots, indices) for name, slots in self.layers.items()]

    def assign(
        self, user_id: str, request_id: str, surface: str = "", device: str = "", locale: str = ""
    ) -> tuple[Assigned, ...]:
        """The experiments that a request is in and its arms, at most one of each layer, in the layers' order.

        Args:
            user_id: Who asks; whoever is not named is in no experiment on people. What they did lately would name
                them until the next thing they do, and then they would change sides.
            request_id: Names the request.
            surface: The context's.
            device: The context's.
            locale: The context's.
        """
        assigned = []
        person = _encode(user_id)
        for layer in self._layers:
            unit = person if layer.by_person else _encode(request_id)
            if not unit:
                continue
            bucket = xxhash.xxh3_64_intdigest(layer.prefix + unit) % BUCKET_COUNT
            place = bisect_right(layer.starts, bucket) - 1
            if place < 0:
                continue
            choice = layer.choices[place]
            if bucket >= choice.end or not choice.enabled:
                continue
            if choice.condition is not None and not choice.condition.holds(surface, device, locale):
                continue
            assigned.append(Assigned(choice.index, choice.draw(unit)))
        return tuple(assigned)


def _prefix(*parts: str) -> bytes:
    return _encode(_SEPARATOR.join(parts) + _SEPARATOR)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
