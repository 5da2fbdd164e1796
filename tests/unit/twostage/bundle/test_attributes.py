from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twostage.bundle.attributes import Attributes, CodedValues, NumberColumn, ValuesColumn
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.row_set import RowSet
from twostage.bundle.value_postings import ValuePostings
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


@dataclass(frozen=True)
class Items:
    """A catalogue as Python sees it, and the same as a bundle written today and as one written before postings."""

    tags: list[list[str]]
    genre: list[list[str]]
    year: list[float]
    price: list[float]
    written: Attributes
    older: Attributes
    remembering: Attributes

    def passes(self, row: int, condition: Condition) -> bool:
        if condition.attribute in {"tags", "genre"}:
            own = set(getattr(self, condition.attribute)[row])
            return (not condition.any_of or bool(own & set(condition.any_of))) and not own & set(condition.none_of)
        number = getattr(self, condition.attribute)[row]
        if condition.minimum is None and condition.maximum is None:
            return True
        low, high = condition.minimum, condition.maximum
        return not math.isnan(number) and (low is None or number >= low) and (high is None or number <= high)


LATER_FILES = (
    "postings", "posting_offsets", "frequent", "bitmaps", "order", "ordered", "steps", "cumulative",
)  # fmt: skip


@pytest.fixture(scope="module", params=[1, 77, 6_000])
def items(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Items:
    count = request.param
    generator = np.random.default_rng(count)
    weights = 1 / np.arange(1, 401)
    tags = [
        [f"tag{tag}" for tag in generator.choice(400, generator.integers(0, 4), p=weights / weights.sum())]
        for _ in range(count)
    ]
    genre = [[f"genre{number}"] for number in generator.integers(0, 5, count)]
    year = np.where(generator.random(count) < 0.1, np.nan, generator.integers(1990, 2020, count))
    price = generator.choice([-np.inf, np.inf, -0.0, 0.0, np.nan, 3.5, 9.99, 12.0], count)
    written, older = tmp_path_factory.mktemp("written"), tmp_path_factory.mktemp("older")
    columns = {"tags": tags, "genre": CodedValues.of_values(genre), "year": year, "price": price}
    for folder in (written, older):
        kinds = Attributes.write(folder, columns)
    for name in LATER_FILES:
        found = list(older.glob(f"*/{name}.npy"))
        assert found
        for path in found:
            path.unlink()
    return Items(
        tags, genre, year.tolist(), price.tolist(),
        Attributes.open(written, kinds, count, cache_bytes=0), Attributes.open(older, kinds, count, cache_bytes=0),
        Attributes.open(written, kinds, count, cache_bytes=30_000),
    )  # fmt: skip


TAGS_ASKED = st.lists(st.integers(0, 420).map(lambda tag: f"tag{tag}"), max_size=5).map(tuple)
MANY_TAGS = st.tuples(st.integers(0, 300), st.integers(1, 4)).map(
    lambda drawn: tuple(f"tag{tag}" for tag in range(drawn[0], 420, drawn[1]))
)
BOUND = st.one_of(st.none(), st.integers(1988, 2022), st.sampled_from([-np.inf, np.inf, -0.0, 0.0, 3.5, 1995.5, 9.99]))
GENRES = [f"genre{number}" for number in range(7)]
CONDITIONS = st.one_of(
    st.builds(Condition, st.just("tags"), st.one_of(TAGS_ASKED, MANY_TAGS), st.one_of(TAGS_ASKED, MANY_TAGS)),
    st.builds(
        Condition, st.just("genre"), st.lists(st.integers(0, 6).map(lambda n: f"genre{n}"), max_size=3).map(tuple)
    ),
    st.tuples(st.sampled_from(["year", "price"]), BOUND, BOUND)
    .filter(lambda drawn: drawn[1] is None or drawn[2] is None or drawn[1] <= drawn[2])
    .map(lambda drawn: Condition(drawn[0], minimum=drawn[1], maximum=drawn[2])),
)


@settings(max_examples=150, deadline=None)
@given(conditions=st.lists(CONDITIONS, max_size=4))
def test_filters_agree_with_asking_every_item_in_bundles_new_and_old(items: Items, conditions: list[Condition]) -> None:
    expected = [row for row in range(len(items.tags)) if all(items.passes(row, c) for c in conditions)]
    for attributes in (items.written, items.older, items.remembering):
        found = attributes.rows(Filter(tuple(conditions)))
        assert found.rows.tolist() == expected
        assert len(found) == int(np.bitwise_count(found.words).sum()) == len(expected)


@settings(max_examples=50, deadline=None)
@given(tags=st.one_of(TAGS_ASKED, MANY_TAGS), genres=st.lists(st.sampled_from(GENRES), max_size=2))
def test_items_carrying_a_tag_in_any_attribute_with_values_are_found(
    items: Items, tags: tuple[str, ...], genres: list[str]
) -> None:
    wanted = {*tags, *genres}
    expected = [row for row, own in enumerate(zip(items.tags, items.genre, strict=True)) if wanted & {*own[0], *own[1]}]
    for attributes in (items.written, items.older):
        assert attributes.carrying([*tags, *genres]).rows.tolist() == expected


def test_nothing_carries_a_tag_where_all_attributes_are_numbers(tmp_path: Path) -> None:
    kinds = Attributes.write(tmp_path, {"year": YEARS})
    assert len(Attributes.open(tmp_path, kinds, len(YEARS)).carrying(["a"])) == 0


def test_an_equal_filter_is_answered_from_memory(tmp_path: Path) -> None:
    kinds = Attributes.write(tmp_path, {"tags": TAGS})
    attributes = Attributes.open(tmp_path, kinds, len(TAGS))

    def asked() -> Filter:
        return Filter((Condition("tags", any_of=("a", "".join("b"))),))

    assert attributes.rows(asked()) is attributes.rows(asked())
    forgetful = Attributes.open(tmp_path, kinds, len(TAGS), cache_bytes=0)
    assert forgetful.rows(asked()) is not forgetful.rows(asked())


def test_a_long_list_of_values_is_united_once_for_several_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 20_000
    shops = np.random.default_rng(0).integers(0, 2_000, count)
    year = np.random.default_rng(1).integers(1990, 2020, count).astype(np.float64)
    kinds = Attributes.write(tmp_path, {"shop": [[f"shop{shop}"] for shop in shops], "year": year})
    united: list[int] = []
    union = ValuePostings.union

    def counting(postings: ValuePostings, codes: NDArray[np.int64]) -> RowSet:
        united.append(len(codes))
        return union(postings, codes)

    monkeypatch.setattr(ValuePostings, "union", counting)
    attributes = Attributes.open(tmp_path, kinds, count)
    near = tuple(f"shop{shop}" for shop in range(1_000))
    for condition in (Condition("shop", any_of=near), Condition("shop", none_of=near)):
        wanted = (shops < 1_000) == bool(condition.any_of)
        for low in (1990, 2000, 2005):
            found = attributes.rows(Filter((condition, Condition("year", minimum=low))))
            assert found.rows.tolist() == np.flatnonzero(wanted & (year >= low)).tolist()
    assert len(united) == 2


def test_a_refused_filter_is_refused_again(attributes: Attributes) -> None:
    for _ in range(2):
        with pytest.raises(InvalidField):
            attributes.rows(Filter((Condition("year", any_of=("1990",)),)))


def test_threads_may_be_the_first_to_ask_an_older_bundle(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    kinds = Attributes.write(
        tmp_path,
        {"tags": [[f"t{tag}"] for tag in generator.integers(0, 9, 5_000)], "year": generator.normal(size=5_000)},
    )
    condition_filter = Filter((Condition("tags", any_of=("t3",)), Condition("year", minimum=0)))
    expected = Attributes.open(tmp_path, kinds, 5_000).rows(condition_filter).rows.tolist()
    for path in [path for name in LATER_FILES for path in tmp_path.glob(f"*/{name}.npy")]:
        path.unlink()
    older = Attributes.open(tmp_path, kinds, 5_000, cache_bytes=0)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: older.rows(condition_filter).rows.tolist(), range(32)))
    assert found == [expected] * 32


def test_what_an_older_bundle_lacks_is_built_ahead_of_the_first_request(items: Items) -> None:
    for attributes in (items.written, items.older):
        attributes.prepare()
        tags, year = attributes.column("tags"), attributes.column("year")
        assert isinstance(tags, ValuesColumn)
        assert isinstance(year, NumberColumn)
        assert tags.postings is tags.postings
        assert year.order is year.order
