"""Requirements: their grammar, and each figure from counts made by hand."""

from __future__ import annotations

import math

import pytest

from twostage.errors import InvalidField
from twostage.load.result import REFUSED, LoadResult, Outcome
from twostage.load.thresholds import read_requirement


@pytest.fixture
def result() -> LoadResult:
    """100 requests in two seconds: 90 known ones of 10 ms, 4 of them short; 5 events of 2 ms; 3 refused, 2 failed."""
    made = LoadResult(100, rate=50.0, timeout_seconds=1.0, sending_seconds=1.98)
    for position in range(90):
        made.record(Outcome(0.0, 0.01, "RUNG_FULL", True, "known", 3 if position < 4 else 0))
    for _ in range(5):
        made.record(Outcome(0.0, 0.002, "ACCEPTED", True, "events"))
    for _ in range(3):
        made.record(Outcome(0.0, 0.001, REFUSED, False, "known"))
    made.record(Outcome(0.0, 0.001, "UNAVAILABLE", False, "known"))
    made.record(Outcome(0.0, 0.001, "RUNG_POPULAR", True, "known"))
    return made


@pytest.mark.parametrize(
    ("text", "measured", "met"),
    [
        ("p50<11ms", 0.01, True),
        ("p96 <= 10ms", 0.01, True),
        ("p97<10s", math.inf, False),
        ("max<1s", math.inf, False),
        ("full>=95%", 0.95, True),
        ("full > 95%", 0.95, False),
        ("in_time>=96%", 0.96, True),
        ("errors<4%", 0.04, False),
        ("errors<=4%", 0.04, True),
        ("refused<3.5%", 0.03, True),
        ("shortfalls<4%", 0.04, False),
        ("goodput>=48", 48.0, True),
        ("goodput>=48.1/s", 48.0, False),
        ("sent>=49/s", 50.0, True),
        ("events:max<5ms", 0.002, True),
        ("events:errors<0.1%", 0.0, True),
        ("known:full>=99%", 90 / 95, False),
        ("similar:p50<1s", math.nan, False),
    ],
)
def test_a_load_is_measured_as_the_requirement_says(result: LoadResult, text: str, measured: float, met: bool) -> None:
    check = read_requirement(text).check_load(result)
    assert check.measured == pytest.approx(measured, rel=2e-3, nan_ok=True)
    assert check.met is met


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--require: expected [KIND:]METRIC then <, <=, > or >= then a value, as 'p99<100ms', received ''"),
        ("p99=100ms", "expected [KIND:]METRIC"),
        ("p99<100", "expected a time such as 100ms or 1.5s after p99<, received '100'"),
        ("p99<nanms", "expected a time"),
        ("p99<-1ms", "expected a time"),
        ("full>=0.99", "expected a share such as 99% or 0.5% after full>=, received '0.99'"),
        ("goodput>=50ms", "expected requests a second such as 50 or 50/s"),
        ("p101<1s", "expected one of p50, p99.9 and so on, max, full"),
        ("p0<1s", "expected one of"),
        ("speed<1s", "received 'speed'"),
        ("known:knee>5", "expected knee of all requests, without a kind"),
        ("p99<1s<2s", "expected [KIND:]METRIC"),
    ],
)
def test_what_is_no_requirement_is_refused_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(InvalidField) as error:
        read_requirement(text)
    assert message in str(error.value)


@pytest.mark.parametrize(("text", "words"), [("p50<1s", "10.00 ms"), ("errors<1%", "4 %"), ("goodput>1", "48.00/s")])
def test_figures_are_told_in_their_unit(result: LoadResult, text: str, words: str) -> None:
    assert read_requirement(text).check_load(result).words == words
