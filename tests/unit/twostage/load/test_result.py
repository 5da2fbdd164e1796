"""Counting by kind, outcome and interval; figures by hand."""

from __future__ import annotations

import math

import pytest

from twostage.load.result import MAX_INTERVAL_COUNT, REFUSED, LoadResult, Outcome, interval_seconds_of


def told(*outcomes: Outcome, rate: float = 4.0, timeout_seconds: float = 0.5, **more: float) -> LoadResult:
    result = LoadResult(len(outcomes), rate=rate, timeout_seconds=timeout_seconds, **more)  # type: ignore[arg-type]
    for outcome in outcomes:
        result.record(outcome)
    return result


def test_goodput_counts_answers_within_the_deadline_from_when_they_were_due() -> None:
    result = told(
        Outcome(0.0, 0.1, "RUNG_FULL", True),
        Outcome(0.25, 0.5, "RUNG_FULL", True),
        Outcome(0.5, 0.51, "RUNG_FULL", True),
        Outcome(0.75, 0.2, "RUNG_POPULAR", True),
        Outcome(1.0, 0.01, REFUSED, False),
        Outcome(1.25, 0.02, REFUSED, False),
        Outcome(1.5, 0.5, "DEADLINE_EXCEEDED", False),
        Outcome(1.75, 0.1, "RUNG_FULL", True),
        sending_seconds=1.75,
    )
    # Two seconds of load: four answers in time, three of them whole; one came too late.
    assert (result.goodput(), result.goodput("RUNG_FULL"), result.goodput("RUNG_POPULAR")) == (2.0, 1.5, 0.5)
    assert result.in_time() == 4
    assert result.errors == {REFUSED: 2, "DEADLINE_EXCEEDED": 1}
    assert result.error_latencies == {REFUSED: [0.01, 0.02], "DEADLINE_EXCEEDED": [0.5]}
    assert result.latencies["RUNG_POPULAR"] == [0.2]
    assert result.sent_per_second == pytest.approx(4.0)
    full = result.tally(name="RUNG_FULL", answered=True).histogram
    assert [full.percentile(share) for share in (50, 100)] == pytest.approx([0.1, 0.51], rel=1e-3)


def test_a_generator_that_does_not_keep_up_shows() -> None:
    result = LoadResult(due_count=100, rate=100.0, sending_seconds=1.99)
    assert result.sent_per_second == pytest.approx(50.0)


def test_a_request_that_failed_was_never_answered() -> None:
    answers = [Outcome(0.0, 0.1, "RUNG_FULL", True)] * 98
    result = told(*answers, Outcome(0.0, 0.001, REFUSED, False), Outcome(0.0, 0.5, "UNAVAILABLE", False))
    assert result.percentile(98) == pytest.approx(0.1)
    assert result.percentile(99) == math.inf


def test_one_kind_is_told_as_if_it_were_alone() -> None:
    known = [Outcome(0.0, 0.1, "RUNG_FULL", True, "known")] * 3
    result = told(*known, Outcome(0.5, 0.2, "UNAVAILABLE", False, "cold"))
    part = result.only("known")
    assert (part.due_count, part.rate, part.errors, part.goodput()) == (3, 3.0, {}, 3.0)
    assert result.only("cold").errors == {"UNAVAILABLE": 1}
    assert result.only("similar").due_count == 0


def test_intervals_go_by_when_requests_were_due() -> None:
    result = told(
        Outcome(0.9, 5.0, "RUNG_FULL", True),
        Outcome(1.0, 0.1, "RUNG_FULL", True, missing_count=2),
        Outcome(2.5, 0.1, REFUSED, False),
    )
    assert result.interval_count == 3
    assert [result.tally(interval=index).histogram.count for index in range(3)] == [1, 1, 1]
    assert result.tally(interval=1, answered=True).shortfall_count == 1
    assert [slot.interval for slot, _ in result.timeline()] == [0, 1, 2]


def test_generators_at_work_together_are_one_load() -> None:
    one = told(Outcome(0.0, 0.1, "RUNG_FULL", True), Outcome(0.5, 0.2, REFUSED, False))
    other = told(Outcome(0.25, 0.3, "RUNG_FULL", True), Outcome(0.75, 0.4, "RUNG_FULL", True))
    merged = LoadResult.merged([one, other])
    assert (merged.due_count, merged.rate, merged.errors) == (4, 8.0, {REFUSED: 1})
    assert merged.tally(answered=True).histogram.count == 3
    assert merged.outcomes == [*(one.outcomes or ()), *(other.outcomes or ())]
    # Neither part was changed.
    assert one.tally(answered=True).histogram.count == 1
    other.outcomes = None
    assert LoadResult.merged([one, other]).outcomes is None


@pytest.mark.parametrize(("seconds", "expected"), [(0.5, 1.0), (240, 1.0), (241, 2.0), (86_400, 360.0)])
def test_a_long_load_has_no_more_intervals(seconds: float, expected: float) -> None:
    assert interval_seconds_of(seconds) == expected
    assert seconds / expected <= MAX_INTERVAL_COUNT
