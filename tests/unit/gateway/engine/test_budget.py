from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.budget import Budget, BudgetPolicy
from gateway.engine.ladder import StageLate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stages_get_the_documented_shares_of_a_second() -> None:
    clock = Clock()
    budget = Budget(1.0, BudgetPolicy(ranking_share=0.5, answer_share=0.04), clock)
    assert budget.retrieval_timeout() == pytest.approx(0.46)
    assert budget.retrieval_timeout(ranking_follows=False) == pytest.approx(0.96)
    clock.now += 0.1
    assert budget.ranking_timeout() == pytest.approx(0.86)


def test_the_answer_keeps_its_least_and_no_more_than_its_most() -> None:
    policy = BudgetPolicy(answer_share=0.1, answer_least_seconds=0.004, answer_most_seconds=0.05)
    assert Budget(0.020, policy).answer_seconds == pytest.approx(0.004)
    assert Budget(0.200, policy).answer_seconds == pytest.approx(0.020)
    assert Budget(60.0, policy).answer_seconds == pytest.approx(0.050)


def test_a_stage_that_cannot_finish_is_not_started() -> None:
    clock = Clock()
    budget = Budget(0.1, BudgetPolicy(stage_least_seconds=0.003, answer_share=0.05), clock)
    clock.now += 0.094
    with pytest.raises(StageLate, match=r"ranking late: not asked, 1\.0 ms"):
        budget.ranking_timeout()
    with pytest.raises(StageLate, match=r"retrieval late: not asked, 0\.0 ms"):
        budget.retrieval_timeout()


@given(
    total=st.floats(0.001, 100),
    ranking_share=st.floats(0, 0.6),
    answer_share=st.floats(0, 0.39),
    spent=st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_stages_that_use_all_they_get_leave_the_answer_its_time(
    total: float, ranking_share: float, answer_share: float, spent: list[float]
) -> None:
    clock = Clock()
    budget = Budget(total, BudgetPolicy(ranking_share=ranking_share, answer_share=answer_share), clock)
    try:
        timeout = budget.retrieval_timeout()
        assert timeout >= 0.003
        clock.now += timeout * spent[0]
        # Whatever retrieval used of its time, ranking's share is still there.
        assert budget.remaining_seconds >= total * ranking_share + budget.answer_seconds - 1e-9
        timeout = budget.ranking_timeout()
        assert timeout >= 0.003
        clock.now += timeout * spent[1]
    except StageLate:
        pass
    else:
        assert budget.remaining_seconds >= budget.answer_seconds - 1e-9
    assert clock.now <= 100 + total + 1e-9


@pytest.mark.parametrize(("ranking", "answer"), [(0.9, 0.1), (-0.1, 0.1), (1.0, 0.0), (0.5, float("nan"))])
def test_shares_that_leave_nothing_for_retrieval_are_refused(ranking: float, answer: float) -> None:
    with pytest.raises(ValueError, match="shares: expected"):
        BudgetPolicy(ranking_share=ranking, answer_share=answer)
