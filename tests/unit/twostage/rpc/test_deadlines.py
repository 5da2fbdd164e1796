from __future__ import annotations

import pytest

from twostage.errors import DeadlineSpent
from twostage.rpc.deadlines import remaining_seconds


class Waiting:
    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def time_remaining(self) -> float | None:
        return self._seconds


@pytest.mark.parametrize(("left", "expected"), [(0.2, 0.2), (None, 1.5), (9e9, 1.5), (30.0, 30.0)])
def test_the_callers_time_counts_and_the_default_where_there_is_none(left: float | None, expected: float) -> None:
    assert remaining_seconds(Waiting(left), default=1.5) == expected


@pytest.mark.parametrize("left", [0.0, -1.0, 0.005])
def test_too_little_time_is_refused(left: float) -> None:
    with pytest.raises(DeadlineSpent, match="before ranking"):
        remaining_seconds(Waiting(left), default=1.0, least=0.005, during="before ranking")
