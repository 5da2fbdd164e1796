"""The buckets, percentiles and log against the HdrHistogram's own port and against sorted lists."""

from __future__ import annotations

import base64
import math
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from twostage.load.histogram import MAX_MICROSECONDS, LatencyHistogram, bucket_of, highest_of, lowest_of
from twostage.load.histogram_log import LogLine, encoded, write_histogram_log

MICROSECONDS = st.lists(st.integers(0, MAX_MICROSECONDS), min_size=1, max_size=200)


def histogram_of(microseconds: list[int]) -> LatencyHistogram:
    made = LatencyHistogram()
    for value in microseconds:
        made.record(value / 1e6)
    return made


@given(st.integers(0, MAX_MICROSECONDS))
def test_buckets_are_those_of_the_hdr_histogram(value: int) -> None:
    reference = HdrHistogram(1, MAX_MICROSECONDS, 3)
    assert bucket_of(value) == reference._counts_index_for(value)
    assert lowest_of(bucket_of(value)) <= value <= highest_of(bucket_of(value))
    assert highest_of(bucket_of(value)) == reference.get_highest_equivalent_value(value)


@given(MICROSECONDS, st.sampled_from([0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_the_nearest_rank_to_three_digits(values: list[int], share: float) -> None:
    exact = float(np.percentile(values, share, method="inverted_cdf"))
    told = histogram_of(values).percentile(share) * 1e6
    assert exact - 1e-6 <= told <= max(exact * 1.001, exact + 1)


@given(MICROSECONDS, MICROSECONDS)
def test_two_added_are_as_one_of_both(one: list[int], other: list[int]) -> None:
    added = histogram_of(one)
    added.add(histogram_of(other))
    assert added == histogram_of(one + other)
    assert added.count == len(one) + len(other)


@settings(max_examples=25)
@given(MICROSECONDS)
def test_the_hdr_histogram_reads_what_is_written(values: list[int]) -> None:
    read = HdrHistogram.decode(base64.b64encode(encoded(histogram_of(values))))
    reference = HdrHistogram(1, MAX_MICROSECONDS, 3)
    for value in values:
        reference.record_value(value)
    assert read.get_total_count() == len(values)
    assert [read.get_count_at_index(index) for index in range(read.counts_len)] == [
        reference.get_count_at_index(index) for index in range(reference.counts_len)
    ]


def test_the_log_is_read_by_the_hdr_histograms_reader(tmp_path: Path) -> None:
    path = tmp_path / "load.hlog"
    first, second = histogram_of([1000, 2000, 3000]), histogram_of([70_000])
    lines = [LogLine("known.RUNG_FULL", 0.0, 1.0, first), LogLine("cold.RUNG_FULL", 1.0, 1.0, second)]
    write_histogram_log(path, lines, started_at=1_700_000_000.5, note="a note")
    with closing(HistogramLogReader(str(path), HdrHistogram(1, MAX_MICROSECONDS, 3))) as reader:
        read = [reader.get_next_interval_histogram() for _ in range(3)]
    assert read.pop() is None
    assert [each.get_tag() for each in read] == ["known.RUNG_FULL", "cold.RUNG_FULL"]
    assert [each.get_total_count() for each in read] == [3, 1]
    assert read[0].get_value_at_percentile(100) == pytest.approx(3000, rel=1e-3)
    assert [each.get_start_time_stamp() for each in read] == [1_700_000_000_500, 1_700_000_001_500]


@given(MICROSECONDS)
def test_the_curve_rises_from_the_shortest_to_the_longest(values: list[int]) -> None:
    ticks = list(histogram_of(values).curve())
    assert [tick.seconds for tick in ticks] == sorted(tick.seconds for tick in ticks)
    assert (ticks[-1].percentile, ticks[-1].passed_count) == (100.0, len(values))
    assert ticks[-1].seconds == pytest.approx(max(values) / 1e6)
    for tick in ticks:
        assert tick.passed_count == sum(value <= tick.seconds * 1e6 + 1e-3 for value in values)


def test_the_curves_ticks_are_five_for_each_halving_of_the_rest() -> None:
    ticks = [tick.percentile for tick in histogram_of(list(range(1, 1001))).curve()]
    assert ticks[:11] == pytest.approx([0, 10, 20, 30, 40, 50, 55, 60, 65, 70, 75])


def test_the_curve_reaches_the_longest_where_that_begins_and_is_level_from_there() -> None:
    # 40 of 50 at 1 ms: the first tick past 80 percent is of the ten longest.
    ticks = list(histogram_of([1000] * 40 + [9000] * 10).curve())
    level = [tick.percentile for tick in ticks if tick.seconds == pytest.approx(0.009)]
    assert level == pytest.approx([82.5, 100.0])


def test_what_is_out_of_bounds_is_counted_at_the_bound() -> None:
    made = LatencyHistogram()
    made.record(-0.5)
    made.record(7200.0)
    assert (made.percentile(50), made.count) == (0.0, 2)
    assert made.percentile(100) == 7200.0


def test_nothing_measured_is_nothing_known() -> None:
    assert math.isnan(LatencyHistogram().percentile(99))
    assert math.isnan(LatencyHistogram().mean_seconds)
    assert not list(LatencyHistogram().curve())


def test_memory_does_not_grow_with_what_is_recorded() -> None:
    made = LatencyHistogram()
    for value in np.random.default_rng(1).lognormal(9, 1, 20_000):
        made.record(value / 1e6)
    before = len(made.counts)
    for value in np.random.default_rng(1).lognormal(9, 1, 20_000):
        made.record(value / 1e6)
    assert len(made.counts) == before < 23_552
    assert made.mean_seconds == pytest.approx(float(np.exp(9.5)) / 1e6, rel=0.05)
