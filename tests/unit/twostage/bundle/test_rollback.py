"""Going back lands on the newest older generation that is fit, or on the named one, or refuses in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_generation import publish_small
from twostage.bundle.errors import BundleCorrupt, RollbackRefused, StoreMissing
from twostage.bundle.rollback import roll_back
from twostage.bundle.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Generations 1, 2 and 3, of which the last is current."""
    store = Store(tmp_path / "store")
    for _ in range(3):
        publish_small(store)
    return store


def damage(store: Store, generation: int) -> None:
    (store.models_path / "content" / str(generation) / "saved_model.pb").write_bytes(b"b model")


def test_the_newest_older_generation_becomes_current(store: Store) -> None:
    done = roll_back(store)
    assert (done.source, done.target, done.skipped) == (3, 2, {})
    assert store.current() == 2
    assert roll_back(store).target == store.current() == 1


def test_a_damaged_generation_is_skipped_and_named(store: Store) -> None:
    damage(store, 2)
    done = roll_back(store)
    assert (done.target, store.current()) == (1, 1)
    assert list(done.skipped) == [2]
    assert "saved_model.pb" in str(done.skipped[2])


def test_without_an_older_generation_it_refuses(store: Store) -> None:
    store.set_current(1)
    with pytest.raises(RollbackRefused, match=r"^nothing to roll back to: no generation is older than 1"):
        roll_back(store)
    assert store.current() == 1


def test_without_an_older_generation_that_is_whole_it_refuses_with_the_reasons(store: Store) -> None:
    damage(store, 1)
    damage(store, 2)
    with pytest.raises(RollbackRefused, match=r"older than 3 is fit to serve \(generation 2: .*; generation 1: .*\)"):
        roll_back(store)
    assert store.current() == 3


@pytest.mark.parametrize("to", [1, 2])
def test_a_named_generation_becomes_current(store: Store, to: int) -> None:
    assert roll_back(store, to).target == store.current() == to


def test_a_newer_generation_may_be_named_after_going_back(store: Store) -> None:
    roll_back(store, 1)
    assert roll_back(store, 3).source == 1
    assert store.current() == 3


def test_a_named_generation_that_is_current_absent_or_damaged_is_refused(store: Store) -> None:
    damage(store, 1)
    with pytest.raises(RollbackRefused, match=r"^generation 3 is the current one$"):
        roll_back(store, 3)
    with pytest.raises(RollbackRefused, match=r"^generation 9 is not in the store; present: 1, 2, 3$"):
        roll_back(store, 9)
    with pytest.raises(RollbackRefused, match=r"^generation 1 stays unused: .*saved_model\.pb: expected sha256"):
        roll_back(store, 1)
    assert store.current() == 3


def test_another_check_decides(store: Store) -> None:
    damage(store, 2)

    def check(number: int) -> None:
        if number == 1:
            raise BundleCorrupt("x", "y", "z")

    assert roll_back(store, check=check).target == 2


def test_a_current_generation_that_is_damaged_or_gone_is_left_behind(store: Store) -> None:
    (store.generations_path / "3" / "manifest.json").unlink()
    assert roll_back(store).target == store.current() == 2
    (store.path / "CURRENT").write_text("7\n")
    assert roll_back(store).target == 2


def test_an_empty_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        roll_back(Store(tmp_path))
