from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from training.experiments.intervals import fixed_interval, sequential_interval


def test_the_fixed_interval_is_the_normal_one() -> None:
    interval = fixed_interval(2.0, 0.5, 0.9)
    assert (interval.low, interval.high) == pytest.approx(norm.interval(0.9, 2.0, 0.5))
    assert interval.method == "fixed-horizon"
    assert 2.0 in interval
    assert 3.0 not in interval


@pytest.mark.parametrize(("count", "alpha", "rho"), [(500, 0.05, 0.03), (20_000, 0.01, 0.3)])
def test_the_sequential_interval_is_the_paper_s_theorem_2_2(count: int, alpha: float, rho: float) -> None:
    """sigma · sqrt(2 (n rho² + 1) / (n² rho²) · ln(sqrt(n rho² + 1) / alpha)), with its own tuning of rho."""
    sigma = 1.7
    tuned = -2 * math.log(alpha)
    target = (tuned + math.log(1 + tuned)) / rho**2
    half = sigma * math.sqrt(
        2 * (count * rho**2 + 1) / (count * rho) ** 2 * math.log(math.sqrt(count * rho**2 + 1) / alpha)
    )
    interval = sequential_interval(0.0, sigma / math.sqrt(count), count, 1 - alpha, target)
    assert (interval.low, interval.high) == pytest.approx((-half, half))


def test_the_sequential_interval_is_about_tightest_at_its_target() -> None:
    def width(log_target: float) -> float:
        return sequential_interval(0.0, 1.0, 5_000, 0.95, math.exp(log_target)).high

    best = minimize_scalar(width, bounds=(0, 20), method="bounded")
    assert width(math.log(5_000)) == pytest.approx(best.fun, rel=0.01)
    # Freedom to look at any time costs half as much again, at its best.
    assert width(math.log(5_000)) / norm.ppf(0.975) == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0])
def test_confidence_is_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence: expected a number between 0 and 1"):
        fixed_interval(0.0, 1.0, confidence)
    with pytest.raises(ValueError, match="confidence"):
        sequential_interval(0.0, 1.0, 10, confidence)
    with pytest.raises(ValueError, match="counts above 0"):
        sequential_interval(0.0, 1.0, 0)


def test_the_sequential_interval_holds_at_all_looks_and_the_fixed_one_does_not() -> None:
    """Clicks of 4,000 answers, looked at 130 times from the hundredth on, 2,000 times over."""
    rng = np.random.default_rng(5)
    rate, looks = 0.1, np.arange(100, 4_001, 30)
    sums = np.cumsum(rng.random((2_000, 4_000)) < rate, axis=1, dtype=np.int32)[:, looks - 1]
    means = sums / looks
    errors = np.sqrt(means * (1 - means) / looks)
    sequential = np.array([sequential_interval(0.0, 1.0, int(look), 0.95, 1_000).high for look in looks])
    held = np.abs(means - rate) <= sequential * errors
    assert held.all(axis=1).mean() >= 0.95
    fixed = np.abs(means - rate) <= fixed_interval(0.0, 1.0).high * errors
    assert fixed[:, -1].mean() == pytest.approx(0.95, abs=0.015)
    assert fixed.all(axis=1).mean() < 0.8
