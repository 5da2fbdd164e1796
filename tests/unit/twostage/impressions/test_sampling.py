from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from twostage.impressions.sampling import is_sampled

IDS = [UUID(int=number * 2**65 + 12345).hex for number in range(20_000)]


def test_about_the_share_is_sampled() -> None:
    for share in (0.01, 0.3, 0.9):
        sampled = sum(is_sampled(name, share) for name in IDS)
        # Four standard errors of a binomial.
        assert abs(sampled - share * len(IDS)) < 4 * (share * (1 - share) * len(IDS)) ** 0.5


@given(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_has_what_a_smaller_one_has(name: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert is_sampled(name, large) or not is_sampled(name, small)


@given(st.text(max_size=40))
def test_nothing_and_everything(name: str) -> None:
    assert not is_sampled(name, 0.0)
    assert is_sampled(name, 1.0)
