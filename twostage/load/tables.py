"""A load's figures as rows of text, for the terminal and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from twostage.load.histogram import LatencyHistogram
from twostage.load.result import FULL, REFUSED, LoadResult
from twostage.load.sweep import Sweep

PERCENTILES = (50, 90, 99, 99.9)
LOAD_HEADINGS = ("outcome", "requests", "in time", *(f"p{share:g} ms" for share in PERCENTILES), "max ms")
SWEEP_HEADINGS = (
    "offered a second",
    "in time",
    f"on {FULL}",
    "refused",
    "failed",
    "p50 ms",
    "p99 ms",
    "sent a second",
    "generator late ms",
)


def load_rows(result: LoadResult) -> Iterator[Sequence[str]]:
    """A row for each outcome, answers first; by kind where several were sent."""
    kinds: list[str | None] = [None] if len(result.kinds) < 2 else list(result.kinds)
    for kind in kinds:
        for answered in (True, False):
            for name in result.names(answered=answered):
                tally = result.tally(kind=kind, name=name, answered=answered)
                if tally.histogram.count:
                    shown = "refused" if name == REFUSED and not answered else name
                    yield (
                        shown if kind is None else f"{kind} {shown}",
                        str(tally.histogram.count),
                        str(tally.in_time_count) if answered else "",
                        *_shares(tally.histogram, (*PERCENTILES, 100)),
                    )


def sweep_rows(sweep: Sweep) -> Iterator[Sequence[str]]:
    """A row for each rate."""
    for result in sweep.results:
        refused_count = result.errors.get(REFUSED, 0)
        yield (
            f"{result.rate:.1f}",
            f"{result.goodput():.1f}",
            f"{result.goodput(FULL):.1f}",
            str(refused_count),
            str(sum(result.errors.values()) - refused_count),
            *_shares(result.tally(answered=True).histogram, (50, 99)),
            f"{result.sent_per_second:.1f}",
            f"{result.latest_start_seconds * 1e3:.1f}",
        )


def _shares(histogram: LatencyHistogram, shares: Sequence[float]) -> list[str]:
    values = (histogram.percentile(share) for share in shares)
    return ["" if math.isnan(value) else f"{value * 1e3:.2f}" for value in values]
