from __future__ import annotations

import json
import math

import pytest

from benchmarks.whole.answers import Noted
from benchmarks.whole.figures import SystemFigures, cpu_ms, loaded_figures, percentiles_ms, swap_of
from benchmarks.whole.generator import Load, joined
from twostage.load.result import LoadResult, Outcome


def _load(*answers: Noted, errors: int = 0, timeout_seconds: float = 0.5) -> Load:
    result = LoadResult(len(answers) + errors, rate=10.0, timeout_seconds=timeout_seconds)
    for answer in answers:
        result.record(Outcome(answer.due, answer.latency, answer.rung, True))
    for position in range(errors):
        result.record(Outcome(float(position), 0.001, "RESOURCE_EXHAUSTED" if position % 2 else "UNAVAILABLE", False))
    return Load(result, list(answers))


def _noted(
    due: float, latency: float = 0.01, *, exact: bool = True, rung: str = "RUNG_FULL", generation: int = 1
) -> Noted:
    return Noted(due, latency, exact, True, rung, generation)


def test_percentiles_are_milliseconds_between_the_nearest_latencies() -> None:
    # Of 1 to 101 ms the median is the 51st and the 99th percentile the 100th.
    p50, p99 = percentiles_ms([position / 1000 for position in range(1, 102)])
    assert p50 == pytest.approx(51.0)
    assert p99 == pytest.approx(100.0)
    assert all(math.isnan(value) for value in percentiles_ms([]))


def test_processor_time_is_told_for_each_answer_and_by_process() -> None:
    assert cpu_ms({"a": 1.0}, {"a": 3.0, "b": 0.5}, 100) == {"a": 20.0, "b": 5.0}
    assert math.isnan(cpu_ms({}, {"a": 1.0}, 0)["a"])


def test_refused_and_late_requests_count_among_those_that_were_due() -> None:
    load = _load(_noted(0), _noted(1, 0.6), _noted(2, rung="RUNG_POPULAR"), _noted(3, exact=False), errors=4)
    figures = loaded_figures("overloaded", load, {"gateway": 0.4}, has_rungs=True)
    assert figures.request_count == 8
    assert figures.in_time_share == 3 / 8
    assert figures.full_share == 2 / 8
    assert figures.degraded_share == 1 / 4
    assert figures.exact_share == 3 / 4
    assert figures.refused_count == 2
    assert figures.errors == {"RESOURCE_EXHAUSTED": 2, "UNAVAILABLE": 2}
    # Four answers share 0.4 s.
    assert figures.total_cpu_ms == pytest.approx(100.0)


def test_a_system_without_rungs_has_no_rate_of_degradation() -> None:
    assert loaded_figures("idle", _load(_noted(0)), {}, has_rungs=False).degraded_share is None


def test_a_span_of_answers_is_looked_at_and_the_whole_load_counted() -> None:
    load = _load(_noted(0, 0.1), _noted(1, 0.3), _noted(2, 0.1))
    figures = loaded_figures("mid-swap", load, {"a": 0.3}, load.answers[1:2], has_rungs=True)
    assert figures.p50_ms == pytest.approx(300.0)
    assert figures.request_count == 3
    assert figures.total_cpu_ms == pytest.approx(100.0)


def test_a_swap_is_timed_to_the_end_of_the_first_answer_of_the_new_generation() -> None:
    load = _load(_noted(9.0), _noted(10.5), _noted(11.0, 0.25, generation=2), _noted(11.1, 0.05, generation=2))
    swap = swap_of(load, 10.0, 1, 2)
    assert swap is not None
    assert swap.seconds == pytest.approx(1.15)
    assert swap.mixed_count == 0
    assert swap.timeline[0] == pytest.approx((-1.0, 10.0, 1))


def test_answers_of_a_third_generation_or_of_the_old_one_long_after_are_told() -> None:
    load = _load(_noted(1.0, generation=2), _noted(1.5), _noted(3.0), _noted(3.0, generation=9))
    swap = swap_of(load, 0.0, 1, 2)
    assert swap is not None
    assert swap.mixed_count == 2


def test_a_swap_without_an_answer_of_the_new_generation_is_none() -> None:
    assert swap_of(_load(_noted(1.0)), 0.0, 1, 2) is None


def test_the_floor_is_the_mean_of_before_and_after() -> None:
    floors = [{"whole": {"cpu_ms": 3.0, "wall_ms": 4.0}}, {"whole": {"cpu_ms": 5.0, "wall_ms": 4.0}}]
    figures = SystemFigures("Twostage", 1000, floors=floors)
    figures.states["idle"] = loaded_figures("idle", _load(_noted(0)), {"a": 0.01}, has_rungs=True)
    assert figures.floor_cpu_ms == 4.0
    assert figures.times_floor("idle") == pytest.approx(2.5)


def test_what_was_not_measured_is_null_in_json() -> None:
    figures = SystemFigures("Twostage", 1000, knee=5.0)
    document = json.loads(json.dumps(figures.as_json(), allow_nan=False))
    assert document["recall"] is None
    assert document["fresh_idle_ms"] == [None, None]
    assert document["knee"] == 5.0


def test_loads_that_followed_one_another_are_one_of_the_same_rate() -> None:
    load = joined([_load(_noted(0), _noted(1), errors=1), _load(_noted(2))])
    assert load.result.rate == 10.0
    assert load.result.due_count == 4
    assert load.result.errors == {"UNAVAILABLE": 1}
    assert [answer.due for answer in load.answers] == [0, 1, 2]
