"""Requirements on a load, which fail a build: ``p99<100ms``, ``full>=99%``, ``events:errors<0.1%``, ``knee>=80``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from twostage.errors import InvalidField
from twostage.load.requests import ACCEPTED
from twostage.load.result import FULL, REFUSED, LoadResult
from twostage.load.sweep import Sweep


class Unit(Enum):
    """What a figure is measured in."""

    SECONDS = "a time such as 100ms or 1.5s"
    SHARE = "a share such as 99% or 0.5%"
    RATE = "requests a second such as 50 or 50/s"


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# Divided by, not multiplied with the inverse: 95 / 100 is the float that a measured share of 95 in 100 is.
_NUMBERS = {
    Unit.SECONDS: (re.compile(r"(\d+(?:\.\d+)?)(ms|s)"), {"ms": 1000, "s": 1}),
    Unit.SHARE: (re.compile(r"(\d+(?:\.\d+)?)(%)"), {"%": 100}),
    Unit.RATE: (re.compile(r"(\d+(?:\.\d+)?)(/s|)"), {"/s": 1, "": 1}),
}
_GRAMMAR = re.compile(r"(?:(?P<kind>[a-z]+):)?(?P<metric>[a-z_]+|p\d+(?:\.\d+)?)(?P<sign><=|>=|<|>)(?P<value>[^<>=]+)")
_FIELD = "--require"

LOAD_METRICS: Mapping[str, tuple[Unit, Callable[[LoadResult], float]]] = {
    "max": (Unit.SECONDS, lambda result: result.percentile(100)),
    "full": (Unit.SHARE, lambda result: _share(_full_count(result), result)),
    "in_time": (Unit.SHARE, lambda result: _share(result.in_time(), result)),
    "errors": (Unit.SHARE, lambda result: _share(sum(result.errors.values()), result)),
    "refused": (Unit.SHARE, lambda result: _share(result.errors.get(REFUSED, 0), result)),
    "shortfalls": (Unit.SHARE, lambda result: _share(result.tally(answered=True).shortfall_count, result)),
    "goodput": (Unit.RATE, lambda result: result.goodput()),
    "sent": (Unit.RATE, lambda result: result.sent_per_second),
}
"""What one load can be measured by, beside ``p<number>``; docs/load.md defines each."""
SEARCH_METRICS = ("knee", "kept_up", "peak")
"""What a sweep or a search can be measured by, all of them rates."""


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    Args:
        text: As it was given.
        kind: Of which kind of requests; of all when None.
        metric: What is measured.
        sign: How it is compared.
        bound: With what: seconds, a share 0..1, or requests a second.
        unit: What that is measured in.
    """

    text: str
    kind: str | None
    metric: str
    sign: str
    bound: float
    unit: Unit

    @property
    def of_search(self) -> bool:
        """Whether it is one on a sweep or a search, not on one load."""
        return self.metric in SEARCH_METRICS

    def check(self, measured: float) -> Check:
        """Compares a figure; one that is not known (NaN) meets nothing."""
        return Check(self, measured, _COMPARISONS[self.sign](measured, self.bound))

    def check_load(self, result: LoadResult) -> Check:
        """Measures a load and compares."""
        part = result if self.kind is None else result.only(self.kind)
        if not part.due_count:
            return self.check(math.nan)
        if self.metric in LOAD_METRICS:
            return self.check(LOAD_METRICS[self.metric][1](part))
        return self.check(part.percentile(float(self.metric.removeprefix("p"))))

    def check_sweep(self, sweep: Sweep) -> Check:
        """Measures a sweep and compares; a knee that there is not meets nothing."""
        knee = sweep.knee
        measured = {"knee": math.nan if knee is None else knee, "kept_up": sweep.kept_up, "peak": sweep.peak}
        return self.check(measured[self.metric])


@dataclass(frozen=True)
class Check:
    """What a requirement came to.

    Args:
        requirement: Which one.
        measured: The figure, in the requirement's unit; NaN where nothing of its kind was sent.
        met: Whether it was met.
    """

    requirement: Requirement
    measured: float
    met: bool

    @property
    def words(self) -> str:
        """The figure for a person."""
        if math.isnan(self.measured):
            return "nothing was measured"
        if math.isinf(self.measured):
            return "not answered"
        match self.requirement.unit:
            case Unit.SECONDS:
                return f"{self.measured * 1e3:.2f} ms"
            case Unit.SHARE:
                return f"{self.measured * 100:.6g} %"
            case Unit.RATE:
                return f"{self.measured:.2f}/s"


def read_requirement(text: str) -> Requirement:
    """Reads ``[KIND:]METRIC<VALUE``, with ``<``, ``<=``, ``>`` or ``>=``; blanks do not matter.

    Raises:
        InvalidField: It is no such text, or its value is not of the metric's unit.
    """
    match = _GRAMMAR.fullmatch(re.sub(r"\s", "", text))
    if match is None:
        raise InvalidField(_FIELD, "[KIND:]METRIC then <, <=, > or >= then a value, as 'p99<100ms'", text)
    metric, sign, value = match["metric"], match["sign"], match["value"]
    unit = _unit(metric)
    if unit is None:
        known = ", ".join(("p50, p99.9 and so on", *LOAD_METRICS, *SEARCH_METRICS))
        raise InvalidField(_FIELD, f"one of {known}", metric)
    if match["kind"] and metric in SEARCH_METRICS:
        raise InvalidField(_FIELD, f"{metric} of all requests, without a kind", text)
    pattern, parts = _NUMBERS[unit]
    number = pattern.fullmatch(value)
    if number is None:
        raise InvalidField(_FIELD, f"{unit.value} after {metric}{sign}", value)
    return Requirement(text, match["kind"], metric, sign, float(number[1]) / parts[number[2]], unit)


def _unit(metric: str) -> Unit | None:
    if metric in LOAD_METRICS:
        return LOAD_METRICS[metric][0]
    if metric in SEARCH_METRICS:
        return Unit.RATE
    share = re.fullmatch(r"p(\d+(?:\.\d+)?)", metric)
    return Unit.SECONDS if share and 0 < float(share[1]) <= 100 else None


def _share(count: int, result: LoadResult) -> float:
    return count / result.due_count


def _full_count(result: LoadResult) -> int:
    """Answers on the top rung, and events that were taken, which have no rung."""
    return sum(result.tally(name=name, answered=True).histogram.count for name in (FULL, ACCEPTED))
