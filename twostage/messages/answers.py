"""Writes what answers have in common: how long the steps took, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol

from twostage.v1 import common_pb2


class Timings(Protocol):
    """The field of an answer that holds its timings."""

    def add(self) -> common_pb2.Timing:
        """Adds an empty one and returns it."""


def write_timings(timings: Timings, timings_ms: Iterable[tuple[str, float]]) -> None:
    """Adds steps inside one process to an answer's timings.

    Args:
        timings: The field.
        timings_ms: Milliseconds by step, in order.
    """
    # Set one by one: through a constructor it takes longer.
    add = timings.add
    for stage, milliseconds in timings_ms:
        timing = add()
        timing.stage = stage
        timing.compute_ms = milliseconds


def write_shortfall(message: common_pb2.Shortfall, missing_count: int, reason: Enum) -> None:
    """Fills an answer's shortfall in its place.

    Args:
        message: The field.
        missing_count: At least 1.
        reason: Of a service's own enum, whose members are named as in the contract.

    Raises:
        ValueError: The contract has no reason of this name.
    """
    message.MergeFrom(common_pb2.Shortfall(missing_count=missing_count, reason=f"SHORTFALL_REASON_{reason.name}"))
