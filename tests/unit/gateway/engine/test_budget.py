from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.budget import Budget, BudgetPolicy
from gateway.engine.ladder import StageLate
from gateway.engine.stage_times import StageTimes


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


def measured(retrieval: float | None, ranking: float | None) -> StageTimes:
    """Times of stages whose calls all took so long; None for one that was never asked."""
    times = StageTimes()
    for window, seconds in ((times.retrieval, retrieval), (times.ranking, ranking)):
        for _ in range(40 if seconds is not None else 0):
            assert seconds is not None
            window.record(seconds)
    for _ in range(40 if ranking is not None else 0):
        assert ranking is not None
        times.ranking_by_count.record(500, ranking)
    return times


def test_the_measured_share_is_as_the_stages_stand_to_each_other_and_bounded_by_the_fixed_one() -> None:
    def share(retrieval: float | None, ranking: float | None) -> float:
        return BudgetPolicy(0.5, 0.0, measured=measured(retrieval, ranking)).share_of_ranking()

    assert share(0.010, 0.010) == pytest.approx(0.5)
    assert share(0.010, 0.020) == pytest.approx(2 / 3)
    assert share(0.010, 0.005) == pytest.approx(1 / 3)
    assert share(0.001, 0.900) == pytest.approx(0.75)
    assert share(0.900, 0.001) == pytest.approx(0.25)
    assert share(None, 0.010) == share(0.010, None) == share(None, None) == 0.5


def test_a_stage_is_not_started_with_less_time_than_half_of_its_calls_take() -> None:
    clock = Clock()
    budget = Budget(0.1, BudgetPolicy(answer_share=0.05, measured=measured(0.010, 0.040)), clock)
    clock.now += 0.050
    assert budget.ranking_timeout() == pytest.approx(0.045)
    clock.now += 0.010
    with pytest.raises(StageLate, match=r"not asked, 35\.0 ms were left for it, and half of its calls take 40\.0 ms"):
        budget.ranking_timeout()
    # Half of the time grows with the candidates, as far as anybody knows.
    assert budget.ranking_timeout(250) == pytest.approx(0.035)


def test_as_many_candidates_are_affordable_as_can_be_ranked_in_the_time_that_is_left() -> None:
    clock = Clock()
    assert Budget(0.1, clock=clock).affordable_candidates(500) == 500
    budget = Budget(0.1, BudgetPolicy(answer_share=0.05, measured=measured(0.010, 0.040)), clock)
    assert budget.affordable_candidates(500) == 500
    # 20 ms are fixed and 20 ms are of 500 candidates.
    clock.now += 0.065
    assert budget.affordable_candidates(500) == pytest.approx(250, abs=2)
    assert budget.affordable_candidates(100) == 100
    clock.now += 0.028
    assert budget.affordable_candidates(500) == 0


@given(
    total=st.floats(0.005, 10),
    more=st.floats(0, 10),
    retrieval=st.floats(1e-4, 2),
    ranking=st.floats(1e-4, 2),
    share=st.floats(0, 0.6),
    answer=st.floats(0, 0.39),
    spent=st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_measured_budgets_never_exceed_what_is_left_and_grow_with_it(
    total: float, more: float, retrieval: float, ranking: float, share: float, answer: float, spent: list[float]
) -> None:
    policy = BudgetPolicy(share, answer, measured=measured(retrieval, ranking))
    kept = policy.share_of_ranking()
    assert share / 2 - 1e-9 <= kept <= (share + 1 - answer) / 2 + 1e-9
    clock = Clock()
    budget = Budget(total, policy, clock)
    try:
        timeout = budget.retrieval_timeout()
    except StageLate:
        return
    assert timeout >= retrieval
    assert Budget(total + more, policy, clock).retrieval_timeout() >= timeout - 1e-9
    clock.now += timeout * spent[0]
    # However long retrieval hangs, ranking has its part.
    assert budget.remaining_seconds - budget.answer_seconds >= total * kept - 1e-9
    try:
        timeout = budget.ranking_timeout()
    except StageLate:
        return
    assert timeout >= ranking
    clock.now += timeout * spent[1]
    assert budget.remaining_seconds >= budget.answer_seconds - 1e-9
    assert clock.now <= 100 + total + 1e-9
