from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from training.evaluation.reliability import Reliability, measure_reliability
from training.evaluation.reliability_plot import plot_reliability


def test_bins_of_equal_mass_by_hand() -> None:
    said = np.array([0.9, 0.1, 0.2, 0.4, 0.6, 0.3])
    done = np.array([True, False, True, False, True, False])
    measured = measure_reliability(done, said, bin_count=3)
    assert measured.counts.tolist() == [2, 2, 2]
    np.testing.assert_allclose(measured.said, [0.15, 0.35, 0.75])
    np.testing.assert_allclose(measured.done, [0.5, 0.0, 1.0])
    assert measured.expected_calibration_error == pytest.approx((0.35 + 0.35 + 0.25) / 3)
    assert measured.mean_said == pytest.approx(said.mean())
    assert measured.mean_done == pytest.approx(0.5)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), max_size=60),
    st.integers(1, 20),
)
@settings(deadline=None)
def test_bins_part_all_probabilities_in_order_and_never_equal_ones(pairs: list[tuple[bool, float]], count: int) -> None:
    done = np.array([label for label, _ in pairs], np.bool_)
    said = np.array([chance for _, chance in pairs], np.float64)
    measured = measure_reliability(done, said, count)
    assert measured.counts.sum() == len(pairs)
    assert (measured.counts > 0).all()
    assert len(measured.counts) <= count
    assert (np.diff(measured.said) > 0).all()
    np.testing.assert_allclose((measured.counts * measured.said).sum(), said.sum(), atol=1e-9)
    np.testing.assert_allclose((measured.counts * measured.done).sum(), done.sum(), atol=1e-9)
    # The order in which they come changes nothing, for equal ones share a bin.
    turned = measure_reliability(done[::-1], said[::-1], count)
    np.testing.assert_allclose(turned.done, measured.done)


def test_without_ties_bins_are_those_of_a_split_of_the_sorted_probabilities() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(1003)
    done = rng.random(1003) < said
    measured = measure_reliability(done, said, 10)
    order = np.argsort(said)
    edges = [1003 * part // 10 for part in range(11)]
    parts = [order[start:stop] for start, stop in pairwise(edges)]
    assert measured.counts.tolist() == [len(part) for part in parts]
    np.testing.assert_allclose(measured.said, [said[part].mean() for part in parts])
    expected = sum(len(part) / 1003 * abs(said[part].mean() - done[part].mean()) for part in parts)
    assert measured.expected_calibration_error == pytest.approx(expected)


def test_probabilities_that_labels_were_drawn_with_have_next_to_no_error() -> None:
    rng = np.random.default_rng(0)
    said = rng.beta(1, 30, 200_000)
    done = rng.random(200_000) < said
    assert measure_reliability(done, said).expected_calibration_error < 0.002
    assert measure_reliability(done, said / 2).expected_calibration_error == pytest.approx(said.mean() / 2, rel=0.05)


def test_intervals_are_wilsons() -> None:
    measured = Reliability(np.array([50, 200]), np.array([0.1, 0.3]), np.array([0.0, 0.25]))
    lower, upper = measured.intervals()
    for place, (hits, count) in enumerate(((0, 50), (50, 200))):
        expected = binomtest(hits, count).proportion_ci(method="wilson")
        assert lower[place] == pytest.approx(expected.low, abs=1e-6)
        assert upper[place] == pytest.approx(expected.high, abs=1e-6)


def test_nothing_said_is_undefined_and_survives_strict_json() -> None:
    measured = measure_reliability(np.zeros(0, np.bool_), np.zeros(0))
    assert math.isnan(measured.expected_calibration_error)
    stated = json.loads(json.dumps(measured.as_manifest(), allow_nan=False))
    assert stated == {"ece": None, "mean_said": None, "mean_done": None, "bins": []}


@pytest.mark.parametrize(
    ("labels", "probabilities", "count", "message"),
    [
        ([True], [0.1, 0.2], 5, r"expected one shape \[n\]"),
        ([True], [1.5], 5, r"expected numbers in \[0, 1\]"),
        ([True], [math.nan], 5, r"expected numbers in \[0, 1\]"),
        ([True], [0.5], 0, "bin_count: expected at least 1, got 0"),
    ],
)
def test_what_cannot_be_binned_is_refused(
    labels: list[bool], probabilities: list[float], count: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure_reliability(np.array(labels), np.array(probabilities), count)


def test_the_plot_has_a_panel_per_action_that_was_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    said = rng.beta(1, 30, 5000)
    full = measure_reliability(rng.random(5000) < said, said)
    never = measure_reliability(np.zeros(5000, np.bool_), said)
    empty = measure_reliability(np.zeros(0, np.bool_), np.zeros(0))
    widths = []
    for name, measured in (
        ("two", {"a": {"liked": full, "saved": never}}),
        ("one", {"a": {"liked": full, "saved": empty}}),
    ):
        plot_reliability(measured, tmp_path / f"{name}.png", "made")
        content = (tmp_path / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        widths.append(int.from_bytes(content[16:20], "big"))
    assert widths[0] > widths[1]
    with pytest.raises(ValueError, match="measured: expected at least one ranker with a probability"):
        plot_reliability({"a": {"liked": empty}}, tmp_path / "none.png")
