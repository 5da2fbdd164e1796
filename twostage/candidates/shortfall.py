"""How many candidates are missing, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ShortfallReason(Enum):
    """Why there are fewer candidates than asked for."""

    CATALOGUE_TOO_SMALL = "catalogue_too_small"
    """The catalogue holds fewer items than asked for."""
    EXCLUDED = "excluded"
    """Filters and exclusions leave fewer items than asked for."""
    SELECTION_POLICY = "selection_policy"
    """The quotas let fewer candidates through."""


@dataclass(frozen=True)
class Shortfall:
    """How many candidates are missing, at least 1, and why."""

    missing_count: int
    reason: ShortfallReason


def shortfall_of(count: int, found_count: int, *, item_count: int, allowed_count: int) -> Shortfall | None:
    """What is missing; None when nothing is.

    Args:
        count: How many were asked for.
        found_count: How many there are, at most ``count``.
        item_count: How many items could be found if nothing were asked of them.
        allowed_count: How many of them filter and exclusions leave.
    """
    if found_count == count:
        return None
    if found_count < min(count, allowed_count):
        reason = ShortfallReason.SELECTION_POLICY
    elif item_count < count:
        reason = ShortfallReason.CATALOGUE_TOO_SMALL
    else:
        reason = ShortfallReason.EXCLUDED
    return Shortfall(count - found_count, reason)
