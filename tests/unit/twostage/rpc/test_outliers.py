from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostage.rpc.outliers import Conduct, Outcome, OutlierPolicy, Outliers

ANSWERED, FAILED, SILENT = Outcome.ANSWERED, Outcome.FAILED, Outcome.SILENT


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Judged:
    """A judge, its connections, and what it told."""

    def __init__(self, count: int = 2, policy: OutlierPolicy | None = None) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, str, float] | tuple[str, float]] = []
        self.outliers = Outliers(
            policy or OutlierPolicy(),
            on_aside=lambda *aside: self.told.append(aside),
            on_back=lambda *back: self.told.append(back),
            clock=self.clock,
        )
        self.connections = [self.outliers.join(f"host-{number}:1") for number in range(count)]

    def note(self, conduct: Conduct, outcome: Outcome, count: int = 1, seconds: float = 0.001) -> None:
        for _ in range(count):
            self.outliers.note(conduct, outcome, seconds)


def test_five_failures_in_a_row_put_a_replica_aside_and_an_answer_in_between_does_not() -> None:
    judged = Judged()
    first, second = judged.connections
    for _ in range(3):
        judged.note(first, FAILED, 4)
        judged.note(first, ANSWERED)
    assert not first.aside
    judged.note(first, FAILED, 5)
    assert (first.aside, second.aside, judged.outliers.aside_count) == (True, False, 1)
    assert judged.told == [("host-0:1", "failed", 1.0)]


def test_failures_that_are_not_the_larger_part_put_nobody_aside() -> None:
    judged = Judged()
    first, _ = judged.connections
    for position in range(1000):
        judged.note(first, FAILED if position % 5 in (0, 2) else ANSWERED)
        assert not first.aside
    for _ in range(40):
        judged.note(first, FAILED, 2)
        judged.note(first, ANSWERED)
    assert first.aside


def test_whoever_leaves_while_put_aside_is_told_of() -> None:
    left: list[str] = []
    outliers = Outliers(OutlierPolicy(), on_left=left.append)
    first, second = outliers.join("host-0:1"), outliers.join("host-1:1")
    for _ in range(5):
        outliers.note(first, FAILED)
    assert outliers.aside_count == 1
    outliers.leave(second)
    outliers.leave(first)
    outliers.leave(first)
    assert (outliers.aside_count, left) == (0, ["host-0:1"])


def test_silence_counts_only_once_it_has_lasted() -> None:
    judged = Judged()
    first, _ = judged.connections
    judged.note(first, SILENT, 9)
    assert not first.aside
    judged.clock.now += 0.1
    judged.note(first, SILENT)
    assert first.aside


def test_one_that_ends_no_work_while_others_answer_is_put_aside_before_anybody_gave_up() -> None:
    judged = Judged()
    first, second = judged.connections
    since = judged.clock.now
    judged.clock.now += 0.6
    # Nobody else answers either: it is not the replica.
    judged.outliers.note_waiting(first, since)
    assert judged.outliers.aside_count == 0
    judged.note(second, ANSWERED, seconds=0.3)
    # The others take long themselves.
    judged.outliers.note_waiting(first, since)
    assert judged.outliers.aside_count == 0
    judged.clock.now += 1.0
    judged.outliers.note_waiting(first, since)
    assert first.aside
    assert judged.told == [("host-0:1", "silent", 1.0)]


def test_more_than_half_of_the_latest_calls_failing_puts_it_aside() -> None:
    judged = Judged()
    first, _ = judged.connections
    for _ in range(8):
        judged.note(first, ANSWERED, 2)
        judged.note(first, FAILED, 2)
    # 16 of 32 are half.
    assert not first.aside
    judged.note(first, FAILED)
    assert first.aside


def test_one_that_takes_several_times_as_long_as_the_others_is_put_aside() -> None:
    judged = Judged(3)
    slow, *others = judged.connections
    for other in others:
        judged.note(other, ANSWERED, 40, seconds=0.010)
    judged.note(slow, ANSWERED, 40, seconds=0.045)
    assert judged.outliers.aside_count == 0
    judged.note(slow, ANSWERED, 40, seconds=0.060)
    assert slow.aside
    assert judged.told == [("host-0:1", "slow", 1.0)]


def test_small_differences_of_fast_replicas_put_nobody_aside() -> None:
    judged = Judged()
    slow, fast = judged.connections
    judged.note(fast, ANSWERED, 40, seconds=0.0005)
    judged.note(slow, ANSWERED, 40, seconds=0.010)
    assert not slow.aside


def test_it_is_tried_when_its_time_is_over_and_its_time_doubles_up_to_a_bound() -> None:
    judged = Judged(policy=OutlierPolicy(first_seconds=1, longest_seconds=6))
    first, _ = judged.connections
    judged.note(first, FAILED, 5)
    for seconds in (1.0, 2.0, 4.0, 6.0, 6.0):
        judged.clock.now += seconds - 0.01
        assert not judged.outliers.take_trial(first)
        judged.clock.now += 0.02
        assert judged.outliers.take_trial(first)
        # One at a time.
        assert not judged.outliers.take_trial(first)
        judged.note(first, FAILED)
    judged.clock.now += 7
    assert judged.outliers.take_trial(first)
    judged.note(first, ANSWERED)
    assert not first.aside
    assert judged.outliers.aside_count == 0
    assert judged.told[-1][0] == "host-0:1"
    assert judged.told[-1][-1] == pytest.approx(7.0)


def test_one_that_behaved_for_long_begins_anew() -> None:
    judged = Judged(policy=OutlierPolicy(first_seconds=1, longest_seconds=6))
    first, _ = judged.connections
    for expected, pause in ((1.0, 0.0), (2.0, 0.0), (1.0, 10.0)):
        judged.clock.now += pause
        judged.note(first, FAILED, 5)
        assert judged.told[-1] == ("host-0:1", "failed", expected)
        judged.clock.now += expected
        assert judged.outliers.take_trial(first)
        judged.note(first, ANSWERED)


def test_a_trial_that_never_ends_is_followed_by_another() -> None:
    judged = Judged(policy=OutlierPolicy(trial_seconds=2))
    first, _ = judged.connections
    judged.note(first, FAILED, 5)
    judged.clock.now += 1
    assert judged.outliers.take_trial(first)
    judged.clock.now += 1.9
    assert not judged.outliers.take_trial(first)
    judged.clock.now += 0.2
    assert judged.outliers.take_trial(first)


def test_answers_to_calls_from_before_do_not_bring_it_back() -> None:
    judged = Judged()
    first, _ = judged.connections
    judged.note(first, FAILED, 5)
    judged.note(first, ANSWERED, 3)
    judged.note(first, SILENT, 9)
    assert first.aside
    assert len(judged.told) == 1


def test_one_that_answers_for_its_status_again_is_tried_at_once() -> None:
    judged = Judged()
    first, _ = judged.connections
    judged.note(first, FAILED, 5)
    # Its status was always told: it says nothing of its work.
    judged.outliers.note_status(first, answered=True)
    assert not judged.outliers.take_trial(first)
    judged.outliers.note_status(first, answered=False)
    assert not judged.outliers.take_trial(first)
    judged.outliers.note_status(first, answered=True)
    assert judged.outliers.take_trial(first)


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_are_put_aside(count: int, most: int) -> None:
    judged = Judged(count)
    for conduct in judged.connections:
        judged.note(conduct, FAILED, 50)
    assert sum(conduct.aside for conduct in judged.connections) == most == judged.outliers.aside_count


def test_several_connections_to_one_address_alone_are_not_put_aside() -> None:
    outliers = Outliers(OutlierPolicy())
    first, _ = outliers.join("a:1"), outliers.join("a:1")
    for _ in range(50):
        outliers.note(first, FAILED)
    assert not first.aside


def test_without_a_policy_nobody_is_put_aside() -> None:
    outliers = Outliers(None)
    first, _ = outliers.join("a:1"), outliers.join("b:1")
    for _ in range(50):
        outliers.note(first, FAILED)
    assert not first.aside


def test_one_that_leaves_makes_room() -> None:
    judged = Judged(4)
    a, b, c, _ = judged.connections
    for conduct in (a, b):
        judged.note(conduct, FAILED, 5)
    judged.outliers.leave(a)
    assert judged.outliers.aside_count == 1
    judged.outliers.leave(a)
    judged.note(c, FAILED, 5)
    # One of three.
    assert not c.aside
    assert judged.outliers.aside_count == 1


@given(
    st.integers(2, 5),
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["answered", "failed", "silent", "trial", "status", "no status", "wait"]),
        ),
        max_size=200,
    ),
)
def test_whatever_happens_at_most_half_are_aside_and_they_are_counted(count: int, steps: list[tuple[int, str]]) -> None:
    judged = Judged(count)
    for number, step in steps:
        conduct = judged.connections[number % count]
        if step == "trial":
            judged.outliers.take_trial(conduct)
        elif step == "wait":
            judged.clock.now += 0.5
        elif step.endswith("status"):
            judged.outliers.note_status(conduct, answered=step == "status")
        else:
            judged.note(conduct, Outcome(step), 3)
        aside = sum(each.aside for each in judged.connections)
        assert aside == judged.outliers.aside_count <= count // 2
