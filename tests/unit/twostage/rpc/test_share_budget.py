from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twostage.rpc.share_budget import ShareBudget


def test_a_reserve_and_then_a_share_of_the_requests() -> None:
    budget = ShareBudget(0.25, reserve=3)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    taken = 0
    for _ in range(40):
        budget.note_request()
        taken += budget.take()
    assert taken == 10


def test_no_share_allows_nothing() -> None:
    budget = ShareBudget(0.0)
    for _ in range(100):
        budget.note_request()
    assert not budget.take()


@given(share=st.floats(0, 0.99), steps=st.lists(st.booleans(), max_size=300))
def test_never_more_than_the_reserve_and_the_share(share: float, steps: list[bool]) -> None:
    budget = ShareBudget(share)
    taken = 0
    for wants in steps:
        budget.note_request()
        taken += wants and budget.take()
    assert taken <= (10 if share > 0 else 0) + share * len(steps) + 1e-6
