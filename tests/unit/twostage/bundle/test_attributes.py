from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twostage.bundle.attributes import Attributes
from twostage.bundle.filters import Condition, Filter
from twostage.errors import InvalidField

TAGS = [["a", "b"], [], ["b"], ["c", "a"], ["d"]]
YEARS = np.array([1990.0, np.nan, 2001.0, 2010.0, 1984.0])


@pytest.fixture
def attributes(tmp_path: Path) -> Attributes:
    kinds = Attributes.write(tmp_path, {"tags": TAGS, "year": YEARS})
    assert kinds == {"tags": "values", "year": "number"}
    return Attributes.open(tmp_path, kinds, len(TAGS))


def passing(attributes: Attributes, *conditions: Condition) -> list[int]:
    rows: list[int] = attributes.rows(Filter(conditions)).rows.tolist()
    return rows


def test_any_of_passes_items_with_one_of_the_values(attributes: Attributes) -> None:
    assert passing(attributes, Condition("tags", any_of=("a", "d"))) == [0, 3, 4]


def test_none_of_passes_items_without_any_value_too(attributes: Attributes) -> None:
    assert passing(attributes, Condition("tags", none_of=("b",))) == [1, 3, 4]


def test_a_value_that_nobody_has_matches_nothing(attributes: Attributes) -> None:
    assert passing(attributes, Condition("tags", any_of=("unheard of",))) == []
    assert passing(attributes, Condition("tags", none_of=("unheard of",))) == [0, 1, 2, 3, 4]


def test_a_range_is_inclusive_and_unknown_numbers_fail_it(attributes: Attributes) -> None:
    assert passing(attributes, Condition("year", minimum=1990, maximum=2001)) == [0, 2]
    assert passing(attributes, Condition("year", maximum=1e9)) == [0, 2, 3, 4]


def test_all_conditions_hold(attributes: Attributes) -> None:
    assert passing(attributes, Condition("tags", any_of=("a",)), Condition("year", minimum=2000)) == [3]


def test_an_empty_filter_passes_everything(attributes: Attributes) -> None:
    assert passing(attributes) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        (Condition("colour", any_of=("red",)), "filter.conditions[0].attribute"),
        (Condition("tags", minimum=1), "filter.conditions[0].range"),
        (Condition("year", any_of=("1990",)), "filter.conditions[0].any_of"),
        (Condition("year", minimum=2, maximum=1), "filter.conditions[0].range"),
        (Condition("year", minimum=float("nan")), "filter.conditions[0].range"),
    ],
)
def test_a_condition_that_makes_no_sense_names_its_field(
    attributes: Attributes, condition: Condition, field: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        attributes.rows(Filter((condition,)))
    assert caught.value.violations[0].field == field


def test_attributes_are_described_as_text(attributes: Attributes) -> None:
    assert attributes.describe(0, ["tags", "year"]) == {"tags": "a, b", "year": "1990"}
    assert attributes.describe(1, ["tags", "year"]) == {}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), min_size=1, max_size=30),
    any_of=st.lists(st.sampled_from("abcdefgh"), max_size=4),
    none_of=st.lists(st.sampled_from("abcdefgh"), max_size=4),
)
def test_masks_agree_with_sets(tmp_path: Path, values: list[list[str]], any_of: list[str], none_of: list[str]) -> None:
    kinds = Attributes.write(tmp_path, {"tags": values})
    mask = Attributes.open(tmp_path, kinds, len(values)).rows(
        Filter((Condition("tags", any_of=tuple(any_of), none_of=tuple(none_of)),))
    )
    expected = [(not any_of or bool(set(v) & set(any_of))) and not set(v) & set(none_of) for v in values]
    assert mask.mask.tolist() == expected
