from __future__ import annotations

import pytest

from gateway.engine.response import Shortfall, ShortfallReason
from gateway.engine.shortfall import state_shortfall


def test_nothing_missing_is_no_shortfall() -> None:
    assert state_shortfall(20, 20, item_count=100, candidate_count=50) is None


@pytest.mark.parametrize(
    ("given_count", "item_count", "candidate_count", "reason"),
    [
        (10, 10, 10, ShortfallReason.CATALOGUE_TOO_SMALL),
        (0, 19, 0, ShortfallReason.CATALOGUE_TOO_SMALL),
        (15, 100, 15, ShortfallReason.EXCLUDED),
        (15, 100, 20, ShortfallReason.SELECTION_POLICY),
        (0, 100, 500, ShortfallReason.SELECTION_POLICY),
    ],
)
def test_the_first_cause_on_the_way_is_named(
    given_count: int, item_count: int, candidate_count: int, reason: ShortfallReason
) -> None:
    stated = state_shortfall(20, given_count, item_count=item_count, candidate_count=candidate_count)
    assert stated == Shortfall(20 - given_count, reason)
