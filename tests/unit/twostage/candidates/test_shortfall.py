from __future__ import annotations

import pytest

from twostage.candidates.shortfall import Shortfall, ShortfallReason, shortfall_of


@pytest.mark.parametrize(
    ("count", "found_count", "item_count", "allowed_count", "reason"),
    [
        (5, 3, 3, 3, ShortfallReason.CATALOGUE_TOO_SMALL),
        (5, 3, 9, 3, ShortfallReason.EXCLUDED),
        (5, 0, 9, 0, ShortfallReason.EXCLUDED),
        (5, 3, 9, 9, ShortfallReason.SELECTION_POLICY),
        (5, 3, 9, 4, ShortfallReason.SELECTION_POLICY),
        (5, 3, 4, 4, ShortfallReason.SELECTION_POLICY),
    ],
)
def test_a_shortfall_says_why(
    count: int, found_count: int, item_count: int, allowed_count: int, reason: ShortfallReason
) -> None:
    missing = shortfall_of(count, found_count, item_count=item_count, allowed_count=allowed_count)
    assert missing == Shortfall(count - found_count, reason)


def test_nothing_missing_is_no_shortfall() -> None:
    assert shortfall_of(5, 5, item_count=5, allowed_count=5) is None
