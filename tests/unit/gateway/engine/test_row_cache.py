from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.row_cache import RowCache
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.id_table import IdTable


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> IdTable:
    path: Path = tmp_path_factory.mktemp("store")
    return publish_items(path, popularity=[1.0] * 30).ids


@given(asked=st.lists(st.lists(st.integers(0, 45), max_size=20), max_size=8), limit=st.integers(0, 40))
def test_answers_are_the_tables_whatever_is_remembered(ids: IdTable, asked: list[list[int]], limit: int) -> None:
    cache = RowCache(ids, limit)
    for numbers in asked:
        assert cache.rows([f"i{number}" for number in numbers]) == [n if n < 30 else -1 for n in numbers]
        assert len(cache._known) <= limit


def test_unknown_ids_are_not_remembered(ids: IdTable) -> None:
    cache = RowCache(ids)
    cache.rows([f"nix-{number}" for number in range(1000)])
    assert not cache._known
