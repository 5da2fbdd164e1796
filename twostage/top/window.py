"""What several servers did within the last seconds, from samples of their counters."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from twostage.top.scrape import Sample

_STARTED = "process_start_time_seconds"


class Window:
    """The samples of the last seconds, by server.

    Args:
        seconds: How far back rates and percentiles look, at least.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._samples: dict[str, deque[Sample]] = {}

    def add(self, samples: Iterable[Sample]) -> None:
        """Takes a look at all servers; those that are not among them are forgotten."""
        looked_at = {sample.address: sample for sample in samples}
        for address in self._samples.keys() - looked_at.keys():
            del self._samples[address]
        for address, sample in looked_at.items():
            kept = self._samples.setdefault(address, deque())
            kept.append(sample)
            # One older than the window stays, from which what happened in it is counted.
            while len(kept) > 2 and kept[1].seconds <= sample.seconds - self._seconds:
                kept.popleft()

    @property
    def newest(self) -> list[Sample]:
        """The newest look at each server, in the order of the addresses."""
        return [samples[-1] for _, samples in sorted(self._samples.items())]

    def only(self, address: str) -> Window:
        """The same window of one server."""
        window = Window(self._seconds)
        window._samples = {address: self._samples[address]}
        return window

    def last(self, name: str, **labels: str) -> list[float]:
        """What each server that tells a series told last."""
        wanted = set(labels.items())
        return [
            value for sample in self.newest for told, value in sample.values.get(name, {}).items() if wanted <= told
        ]

    def rates(self, name: str, by: str | None = None, **labels: str) -> dict[str, float]:
        """How fast counters grew, summed over servers, each second.

        Args:
            name: The series, e.g. ``twostage_requests_total``.
            by: Summed for each value of this label; all together under the empty text when None.
            labels: Only series with these.

        Returns:
            By the label's value; nothing for what no server tells twice.
        """
        wanted = set(labels.items())
        rates: dict[str, float] = {}
        for samples in self._samples.values():
            told = [sample for sample in samples if not sample.error]
            if len(told) < 2 or told[-1].seconds <= told[0].seconds:
                continue
            elapsed = told[-1].seconds - told[0].seconds
            # A server that was started again counts from 0, however far it has come since.
            again = told[0].values.get(_STARTED) != told[-1].values.get(_STARTED)
            counted = {} if again else told[0].values.get(name, {})
            for each, value in told[-1].values.get(name, {}).items():
                if not wanted <= each:
                    continue
                before = counted.get(each, 0.0)
                grown = value - before if value >= before else value
                key = dict(each).get(by, "") if by is not None else ""
                rates[key] = rates.get(key, 0.0) + grown / elapsed
        return rates

    def quantile(self, name: str, share: float, **labels: str) -> float:
        """A quantile of a histogram's observations, interpolated within its bucket as PromQL does it.

        Args:
            name: The histogram, without ``_bucket``.
            share: From 0 to 1.
            labels: Only series with these.

        Returns:
            NaN without observations; the highest finite edge where it lies beyond that.
        """
        by_edge = self.rates(f"{name}_bucket", by="le", **labels)
        edges = sorted((float(edge), rate) for edge, rate in by_edge.items())
        if not edges or edges[-1][1] <= 0:
            return math.nan
        rank = share * edges[-1][1]
        low, below = 0.0, 0.0
        for high, rate in edges:
            if rate >= rank:
                if math.isinf(high):
                    return low
                return low + (high - low) * (rank - below) / (rate - below) if rate > below else high
            low, below = high, rate
        return low
