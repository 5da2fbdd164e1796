from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway.engine.person import MAX_EXCLUDED_ROWS, NOBODY, StoredUser, describe_person
from gateway.engine.row_cache import RowCache
from gateway.engine.taste import TasteEvent
from tests.unit.gateway.catalogue import publish_items
from twostage.messages.bounds import checked_numbers
from twostage.v1 import common_pb2

STORED = StoredUser(
    taste=[
        TasteEvent("i3", "rated", 5.0, 70),
        TasteEvent("gone", "to_read", None, 80),
        TasteEvent("i1", "rated", 4.0, 90),
    ],
    seen_item_ids=["i1", "gone", "i3", "i7"],
)


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> RowCache:
    path: Path = tmp_path_factory.mktemp("store")
    return RowCache(publish_items(path, popularity=[1.0] * 200).ids)


def test_nobody_has_no_history_and_excludes_nothing(ids: RowCache) -> None:
    person = describe_person(ids, NOBODY)
    assert not any(len(column) for column in person.history)
    assert not person.excluded_rows
    assert person.unknown_item_count == 0


def test_stored_taste_becomes_columns_in_rows_without_unknown_items(ids: RowCache) -> None:
    person = describe_person(ids, STORED)
    assert list(person.history.rows) == [3, 1]
    assert list(person.history.actions) == ["rated", "rated"]
    assert list(person.history.values) == [5.0, 4.0]
    assert list(person.history.times_seconds) == [70, 90]
    assert person.unknown_item_count == 1
    assert person.excluded_rows == [1, 3, 7]


def test_a_missing_value_travels_as_nan(ids: RowCache) -> None:
    person = describe_person(ids, StoredUser([TasteEvent("i2", "to_read", None, 0)], ["i2"]))
    assert math.isnan(person.history.values[0])


def test_recent_items_replace_the_stored_taste_and_count_as_seen(ids: RowCache) -> None:
    person = describe_person(ids, STORED, recent_item_ids=["i9", "nix", "i8"])
    assert list(person.history.rows) == [9, 8]
    assert list(person.history.actions) == []
    assert person.unknown_item_count == 1
    assert set(person.excluded_rows) == {9, 8, 1, 3, 7}


def test_include_seen_leaves_only_what_is_excluded_by_name(ids: RowCache) -> None:
    person = describe_person(
        ids, STORED, recent_item_ids=["i9"], exclude_item_ids=["i5", "nix", "i5"], include_seen=True
    )
    assert person.excluded_rows == [5]


def test_the_newest_fifty_are_the_history(ids: RowCache) -> None:
    asked = [f"i{row}" for row in range(120)]
    assert list(describe_person(ids, NOBODY, recent_item_ids=asked).history.rows) == list(range(70, 120))
    taste = [TasteEvent(item, "to_read", None, 1) for item in asked]
    assert list(describe_person(ids, StoredUser(taste, ())).history.rows) == list(range(70, 120))


def test_when_too_much_is_excluded_the_oldest_seen_items_are_let_go(tmp_path: Path) -> None:
    count = MAX_EXCLUDED_ROWS + 50
    ids = RowCache(publish_items(tmp_path, popularity=[1.0] * count).ids)
    seen = [f"i{row}" for row in range(count - 20)]
    person = describe_person(
        ids,
        StoredUser((), seen),
        recent_item_ids=[f"i{count - 1}"],
        exclude_item_ids=[f"i{count - 2}", f"i{count - 3}"],
    )
    excluded = person.excluded_rows
    assert len(excluded) == MAX_EXCLUDED_ROWS
    assert excluded[:3] == [count - 2, count - 3, count - 1]
    assert excluded[3:] == list(range(MAX_EXCLUDED_ROWS - 3))


@pytest.mark.parametrize("value", [1e39, -1e39, math.inf, 3.4028236e38])
def test_a_stored_value_that_no_32_bit_float_holds_counts_as_none(ids: RowCache, value: float) -> None:
    stored = StoredUser(taste=[TasteEvent("i3", "rated", value, 70), TasteEvent("i1", "rated", 4.0, 90)])
    values = describe_person(ids, stored).history.values
    assert math.isnan(values[0])
    assert values[1] == 4.0
    # What the stages are sent is what they take.
    checked_numbers("history.values", common_pb2.History(values=values).values, nan_is_none=True)
