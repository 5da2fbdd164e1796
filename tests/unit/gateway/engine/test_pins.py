from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.pins import pinned_rows, pins_first
from gateway.engine.row_cache import RowCache
from tests.unit.gateway.catalogue import publish_items


def test_pins_are_distinct_rows_in_their_order_and_unknown_ids_are_ignored(tmp_path: Path) -> None:
    cache = RowCache(publish_items(tmp_path, popularity=[1.0] * 4).ids)
    assert pinned_rows(cache, ["i3", "nix", "i1", "i3"]) == (3, 1)
    assert pinned_rows(cache, []) == ()


@given(
    pins=st.lists(st.integers(0, 9), unique=True),
    rows=st.lists(st.integers(0, 9), unique=True),
    count=st.integers(1, 12),
)
def test_pins_stand_where_they_are_in_the_list_in_the_pins_order(pins: list[int], rows: list[int], count: int) -> None:
    positions = pins_first(pins, rows, count)
    assert [rows[position] for position in positions] == [pin for pin in pins if pin in rows][:count]
