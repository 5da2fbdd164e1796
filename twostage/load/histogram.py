"""Latencies in buckets of the HdrHistogram's layout: few bytes however many there are, and exact to a thousandth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

SIGNIFICANT_DIGITS = 3
"""A latency is told to so many digits: at most 0.1 % too high."""
MAX_MICROSECONDS = 3_600_000_000
"""An hour; what takes longer counts as so long."""
# The smallest power of two that tells 2 * 10^3 apart, as the HdrHistogram has it.
_SUB_BUCKET_BITS = 11
_HALF_BITS = _SUB_BUCKET_BITS - 1
_HALF = 1 << _HALF_BITS
_TICKS_PER_HALVING = 5


class Tick(NamedTuple):
    """One point of a percentile curve.

    Args:
        seconds: No latency of this share is above it.
        percentile: The share, 0..100.
        passed_count: How many latencies it is.
    """

    seconds: float
    percentile: float
    passed_count: int


@dataclass
class LatencyHistogram:
    """Counts of latencies by bucket.

    The buckets are those of Gil Tene's HdrHistogram (hdrhistogram.org) with three significant digits and microseconds
    from 1 to an hour: values below 2048 have a bucket each, and from there on each doubling is split into 1024 buckets.
    Only buckets that hold something take memory: at most 23,552, a few hundred for most loads.

    Args:
        counts: How many by bucket.
        max_seconds: The longest latency, exactly; 0 when there is none.
    """

    counts: Counter[int] = field(default_factory=Counter)
    max_seconds: float = 0.0

    def record(self, seconds: float) -> None:
        """Takes note of a latency; one below a microsecond counts as none at all, one above an hour as an hour."""
        self.counts[bucket_of(min(max(round(seconds * 1e6), 0), MAX_MICROSECONDS))] += 1
        self.max_seconds = max(self.max_seconds, seconds)

    def add(self, other: LatencyHistogram) -> None:
        """Takes note of all that another one holds."""
        self.counts.update(other.counts)
        self.max_seconds = max(self.max_seconds, other.max_seconds)

    @property
    def count(self) -> int:
        """How many latencies."""
        return self.counts.total()

    @property
    def mean_seconds(self) -> float:
        """Their mean, each taken for the middle of its bucket; NaN when there is none."""
        total = self.count
        middles = ((lowest_of(bucket) + highest_of(bucket)) / 2 * count for bucket, count in self.counts.items())
        return sum(middles) / total / 1e6 if total else math.nan

    def percentile(self, share: float) -> float:
        """The latency that ``share`` percent did not exceed.

        The nearest rank (Hyndman and Fan, 1996, definition 1): of n in ascending order the one at ``ceil(share / 100 *
        n)``, told as the highest value of its bucket and never above the longest.

        Args:
            share: 0..100; 100 is the longest, exactly.

        Returns:
            Seconds; NaN when there is no latency.
        """
        return self.percentile_of(share, self.count)

    def percentile_of(self, share: float, total: int) -> float:
        """`percentile` where others, up to ``total`` in all, took longer than any of these: infinity among those."""
        rank = max(_rank(share, total), 1)
        if total <= 0:
            return math.nan
        if rank > self.count:
            return math.inf
        if rank == self.count:
            return self.max_seconds
        passed = 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= rank:
                return min(highest_of(bucket) / 1e6, self.max_seconds)
        raise AssertionError("the ranks end with the count")

    def curve(self) -> Iterator[Tick]:
        """The percentile curve, denser the nearer it is to 100: five ticks each time that the rest has halved.

        The ticks are those of the HdrHistogram's percentile output, so that the tail takes as much room as the rest.
        """
        total = self.count
        if not total:
            return
        share = 0.0
        buckets = iter(sorted(self.counts))
        bucket = next(buckets)
        passed = self.counts[bucket]
        while True:
            rank = max(_rank(share, total), 1)
            while passed < rank:
                bucket = next(buckets)
                passed += self.counts[bucket]
            yield Tick(min(highest_of(bucket) / 1e6, self.max_seconds), share, passed)
            if passed == total:
                # From here on the curve is level.
                break
            halvings = math.floor(math.log2(100 / (100 - share))) + 1
            share += 100 / (_TICKS_PER_HALVING * 2**halvings)
        yield Tick(self.max_seconds, 100.0, total)


def bucket_of(microseconds: int) -> int:
    """Where a value is counted: a position in the HdrHistogram's array of counts."""
    doublings = max(microseconds.bit_length() - _SUB_BUCKET_BITS, 0)
    return (doublings << _HALF_BITS) + (microseconds >> doublings)


def lowest_of(bucket: int) -> int:
    """The lowest value that is counted in a bucket, in microseconds."""
    doublings = _doublings(bucket)
    return (bucket - (doublings << _HALF_BITS)) << doublings


def highest_of(bucket: int) -> int:
    """The highest value that is counted in a bucket, in microseconds."""
    return lowest_of(bucket) + (1 << _doublings(bucket)) - 1


def _doublings(bucket: int) -> int:
    return max((bucket >> _HALF_BITS) - 1, 0)


def _rank(share: float, total: int) -> int:
    # A share such as 99.9 is not exact in binary, and 999.0000000001 would be the next rank.
    return math.ceil(round(share / 100 * total, 6))
