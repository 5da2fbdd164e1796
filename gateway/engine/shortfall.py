"""Why a list is shorter than asked for."""

from __future__ import annotations

from gateway.engine.response import Shortfall, ShortfallReason


def state_shortfall(
    asked_count: int,
    given_count: int,
    *,
    item_count: int,
    candidate_count: int,
    candidate_reason: ShortfallReason = ShortfallReason.EXCLUDED,
) -> Shortfall | None:
    """Counts what is missing and names the first cause on the way.

    Args:
        asked_count: How many were asked for.
        given_count: How many are given.
        item_count: How many items the catalogue holds.
        candidate_count: How many candidates there were to choose from.
        candidate_reason: Why there were no more candidates.

    Returns:
        None when nothing is missing.
    """
    missing = asked_count - given_count
    if missing <= 0:
        return None
    if item_count < asked_count:
        return Shortfall(missing, ShortfallReason.CATALOGUE_TOO_SMALL)
    if candidate_count >= asked_count:
        return Shortfall(missing, ShortfallReason.SELECTION_POLICY)
    return Shortfall(missing, candidate_reason)
