"""What came of a load: counts and latency histograms by kind of request, outcome and interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from twostage.load.histogram import LatencyHistogram

REFUSED = "RESOURCE_EXHAUSTED"
"""The status code of requests that the gateway refused for want of room; every other code is a failure."""
FULL = "RUNG_FULL"
MAX_INTERVAL_COUNT = 240
"""A load is told in at most so many intervals, each of a second or more, so that a long one takes no more memory."""


class Outcome(NamedTuple):
    """What came of one request.

    Args:
        due_seconds: When it was due, from the first one on.
        latency_seconds: From then until its answer or its error.
        name: The rung of its answer, e.g. ``RUNG_FULL``, or the code of its error, e.g. ``UNAVAILABLE``.
        answered: True for an answer.
        kind: What the request stood for.
        missing_count: How many items the answer's shortfall says are missing.
    """

    due_seconds: float
    latency_seconds: float
    name: str
    answered: bool
    kind: str = "recommend"
    missing_count: int = 0


class Slot(NamedTuple):
    """What is counted together.

    Args:
        interval: When it was due: the position of the interval, from 0.
        kind: What was asked.
        name: What came.
        answered: Whether that is an answer.
    """

    interval: int
    kind: str
    name: str
    answered: bool


@dataclass
class Tally:
    """Requests of one slot.

    Args:
        histogram: Their latencies.
        in_time_count: How many were answered before the deadline.
        shortfall_count: How many answers told a shortfall.
    """

    histogram: LatencyHistogram = field(default_factory=LatencyHistogram)
    in_time_count: int = 0
    shortfall_count: int = 0

    def add(self, other: Tally) -> None:
        """Counts in all of another one."""
        self.histogram.add(other.histogram)
        self.in_time_count += other.in_time_count
        self.shortfall_count += other.shortfall_count


@dataclass
class LoadResult:
    """What came back.

    Latencies are seconds from the moment a request was due, not from when it left, so that a generator or a server
    that falls behind shows (coordinated omission).

    Args:
        due_count: Requests that were due, all of which were sent.
        rate: How many of them in a second.
        timeout_seconds: Each one's deadline; an answer that takes longer is none.
        seconds: From the first due moment to the last answer.
        sending_seconds: From the first due moment until the last request had left.
        outcomes: What came of each, in the order in which they ended; None when they are not kept.
        latest_start_seconds: The most that a request left after it was due.
        generator_cpu_seconds: Processor time of the generator meanwhile.
        interval_seconds: How long each interval of the tallies is.
        tallies: Counts and latencies by slot.
    """

    due_count: int
    rate: float = 0.0
    timeout_seconds: float = math.inf
    seconds: float = 0.0
    sending_seconds: float = 0.0
    outcomes: list[Outcome] | None = field(default_factory=list)
    latest_start_seconds: float = 0.0
    generator_cpu_seconds: float = 0.0
    interval_seconds: float = 1.0
    tallies: dict[Slot, Tally] = field(default_factory=dict)

    @classmethod
    def merged(cls, results: Iterable[LoadResult]) -> LoadResult:
        """What several generators brought back that ran at the same time; at least one."""
        parts = list(results)
        kept = [part.outcomes for part in parts if part.outcomes is not None]
        merged = cls(
            due_count=sum(part.due_count for part in parts),
            rate=sum(part.rate for part in parts),
            timeout_seconds=parts[0].timeout_seconds,
            seconds=max(part.seconds for part in parts),
            sending_seconds=max(part.sending_seconds for part in parts),
            outcomes=[outcome for outcomes in kept for outcome in outcomes] if len(kept) == len(parts) else None,
            latest_start_seconds=max(part.latest_start_seconds for part in parts),
            generator_cpu_seconds=sum(part.generator_cpu_seconds for part in parts),
            interval_seconds=parts[0].interval_seconds,
        )
        for part in parts:
            for slot, tally in part.tallies.items():
                merged.tallies.setdefault(slot, Tally()).add(tally)
        return merged

    def record(self, outcome: Outcome) -> None:
        """Takes note of what came of a request."""
        slot = Slot(int(outcome.due_seconds / self.interval_seconds), outcome.kind, outcome.name, outcome.answered)
        tally = self.tallies.get(slot)
        if tally is None:
            tally = self.tallies.setdefault(slot, Tally())
        tally.histogram.record(outcome.latency_seconds)
        tally.in_time_count += outcome.answered and outcome.latency_seconds <= self.timeout_seconds
        tally.shortfall_count += outcome.missing_count > 0
        if self.outcomes is not None:
            self.outcomes.append(outcome)

    def only(self, kind: str) -> LoadResult:
        """The part of one kind of request, as if nothing else had been sent; its rate is its share of the rate."""
        chosen = {slot: tally for slot, tally in self.tallies.items() if slot.kind == kind}
        count = sum(tally.histogram.count for tally in chosen.values())
        outcomes = None if self.outcomes is None else [each for each in self.outcomes if each.kind == kind]
        rate = self.rate * count / self.due_count
        return replace(self, due_count=count, rate=rate, outcomes=outcomes, tallies=chosen)

    def tally(
        self, *, kind: str | None = None, name: str | None = None, answered: bool | None = None, interval: int = -1
    ) -> Tally:
        """All that fits, of all kinds, outcomes and intervals where nothing is said of them."""
        found = Tally()
        for slot, tally in self.tallies.items():
            if (
                (kind is None or slot.kind == kind)
                and (name is None or slot.name == name)
                and (answered is None or slot.answered is answered)
                and interval in (-1, slot.interval)
            ):
                found.add(tally)
        return found

    @property
    def kinds(self) -> list[str]:
        """The kinds of requests, in the order of the alphabet."""
        return sorted({slot.kind for slot in self.tallies})

    def names(self, *, answered: bool) -> list[str]:
        """The rungs of answers, or the codes of errors, that there were."""
        return sorted({slot.name for slot in self.tallies if slot.answered is answered})

    @property
    def interval_count(self) -> int:
        """How many intervals there are."""
        return max((slot.interval for slot in self.tallies), default=-1) + 1

    @property
    def latencies(self) -> dict[str, list[float]]:
        """The answers' latencies in seconds, by rung.

        Raises:
            ValueError: Outcomes were not kept.
        """
        return self._by_name(answered=True)

    @property
    def error_latencies(self) -> dict[str, list[float]]:
        """The failed requests' latencies in seconds, by status code; refusals are `REFUSED`.

        Raises:
            ValueError: Outcomes were not kept.
        """
        return self._by_name(answered=False)

    @property
    def errors(self) -> dict[str, int]:
        """How many failed, refusals included, by status code."""
        found: Counter[str] = Counter()
        for slot, tally in self.tallies.items():
            if not slot.answered:
                found[slot.name] += tally.histogram.count
        return dict(found)

    @property
    def sent_per_second(self) -> float:
        """Requests that left in a second; below the rate where the generator did not keep up."""
        # The last one leaves one interval before the end of its second.
        interval = 1 / self.rate if self.rate else 0.0
        return self.due_count / max(self.sending_seconds + interval, self.due_count * interval)

    def in_time(self, rung: str | None = None) -> int:
        """How many were answered before their deadline; those on one rung, or on any."""
        return self.tally(name=rung, answered=True).in_time_count

    def goodput(self, rung: str | None = None) -> float:
        """Requests of each second that were answered before their deadline; those on one rung, or on any."""
        return self.in_time(rung) * self.rate / self.due_count

    def percentile(self, share: float) -> float:
        """The seconds within which ``share`` percent of all requests were answered, 0..100.

        A request that failed or was refused was never answered: where more than the rest of them did, it is infinite.
        """
        return self.tally(answered=True).histogram.percentile_of(share, self.due_count)

    def timeline(self) -> Iterator[tuple[Slot, Tally]]:
        """All slots, in the order of their intervals."""
        yield from sorted(self.tallies.items())

    def _by_name(self, *, answered: bool) -> dict[str, list[float]]:
        if self.outcomes is None:
            raise ValueError("outcomes: expected those of each request, received none: they were not kept")
        found: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            if outcome.answered is answered:
                found.setdefault(outcome.name, []).append(outcome.latency_seconds)
        return found


def interval_seconds_of(seconds: float) -> float:
    """How long the intervals of a load of so many seconds are: whole seconds, at most `MAX_INTERVAL_COUNT` of them."""
    return float(max(1, math.ceil(seconds / MAX_INTERVAL_COUNT)))
