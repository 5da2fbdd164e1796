from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twostage.bundle import number_order
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.number_order import NumberOrder

BOUNDS = [-np.inf, np.inf, -0.0, 0.0, 5e-324, -5e-324, 1e308]
SPECIAL = [*BOUNDS, np.nan]


def numbers_of(seed: int, item_count: int, kind: str) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    if kind == "years":
        numbers = generator.integers(1990, 1990 + 12, item_count).astype(np.float64)
    elif kind == "special":
        return generator.choice(SPECIAL, item_count)
    elif kind == "unknown":
        return np.full(item_count, np.nan)
    else:
        numbers = generator.normal(1996, 4, item_count)
    numbers[generator.random(item_count) < 0.1] = np.nan
    return numbers


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    item_count=st.one_of(st.integers(1, 200), st.sampled_from([3_001, 20_000])),
    kind=st.sampled_from(["years", "special", "unknown", "normal"]),
    least_step=st.sampled_from([1, 7, 256]),
    bounds=st.lists(
        st.one_of(st.floats(1980, 2010), st.integers(1989, 2003), st.sampled_from(BOUNDS)), min_size=2, max_size=2
    ),
)
def test_ranges_agree_with_comparing_every_number(
    seed: int, item_count: int, kind: str, least_step: int, bounds: list[float]
) -> None:
    numbers = numbers_of(seed, item_count, kind)
    low, high = sorted(bounds)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(number_order, "_LEAST_STEP", least_step)
        order = NumberOrder.build(numbers)
    start, end = order.stretch(low, high)
    found = order.rows(start, end)
    expected = [row for row, number in enumerate(numbers.tolist()) if low <= number <= high]
    assert found.rows.tolist() == expected
    assert end - start == len(found) == int(np.bitwise_count(found.words).sum()) == len(expected)


@pytest.mark.parametrize("item_count", [1, 600, 70_000])
def test_every_stretch_between_steps_is_right(item_count: int) -> None:
    numbers = np.random.default_rng(item_count).normal(size=item_count)
    by_number = np.argsort(numbers)
    order = NumberOrder.build(numbers)
    positions = np.unique(np.linspace(0, item_count, 23).astype(int))
    for start in positions.tolist():
        for end in positions[positions >= start].tolist():
            found = order.rows(start, end)
            assert found.rows.tolist() == sorted(by_number[start:end].tolist())
            assert len(found) == end - start


@pytest.mark.parametrize("kind", ["years", "special", "unknown", "normal"])
def test_a_written_order_opens_as_it_was_built(tmp_path: Path, kind: str) -> None:
    numbers = numbers_of(8, 3_000, kind)
    NumberOrder.build(numbers).write(tmp_path)
    opened = NumberOrder.open(tmp_path, item_count=3_000)
    assert opened is not None
    for low, high in ((-np.inf, np.inf), (1993, 1997), (0, 0), (2500, 2600)):
        expected = np.flatnonzero((numbers >= low) & (numbers <= high))
        assert opened.rows(*opened.stretch(low, high)).rows.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["ordered", "steps", "cumulative"])
def test_an_order_that_lacks_a_file_is_refused(tmp_path: Path, name: str) -> None:
    NumberOrder.build(np.arange(100.0)).write(tmp_path)
    (tmp_path / f"{name}.npy").unlink()
    with pytest.raises(BundleCorrupt):
        NumberOrder.open(tmp_path, item_count=100)


@pytest.mark.parametrize("steps", [[], [0], [0, 99], [1, 100]])
def test_steps_that_do_not_span_the_order_are_refused(tmp_path: Path, steps: list[int]) -> None:
    NumberOrder.build(np.arange(100.0)).write(tmp_path)
    np.save(tmp_path / "steps.npy", np.array(steps))
    np.save(tmp_path / "cumulative.npy", np.zeros((len(steps), 2), np.uint64))
    with pytest.raises(BundleCorrupt):
        NumberOrder.open(tmp_path, item_count=100)


def test_a_folder_without_an_order_is_an_older_bundle(tmp_path: Path) -> None:
    assert NumberOrder.open(tmp_path, item_count=1) is None
