"""What every user store must do; each is opened by `stores.STORES`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from gateway.users.store import NewEvent, UserStore, UserStoreUnavailable
from tests.contract.user_store.stores import STORES
from twostage.features.actions import Action, ActionSchema

RULE = TasteRule(
    ActionSchema(
        (
            Action("rated", "rated", taste=False),
            Action("liked", "rated", min_value=4.0),
            Action("to_read", "to_read"),
        )
    )
)


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UserStore]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def event(number: int, user_id: str = "ann", item_id: str = "", **fields: object) -> NewEvent:
    defaults: dict[str, object] = {"action": "to_read", "value": None, "time_seconds": number}
    return NewEvent(f"e{number}", user_id, item_id or f"item-{number}", **{**defaults, **fields})  # type: ignore[arg-type]


def read(store: UserStore, user_id: str = "ann", **limits: int) -> StoredUser:
    stored = store.read(user_id, RULE, **limits)
    assert stored is not None
    return stored


def test_an_unknown_person_is_none(store: UserStore) -> None:
    assert store.read("nobody", RULE) is None
    store.record([event(1)])
    assert store.read("nobody", RULE) is None
    assert store.read("", RULE) is None


def test_taste_is_oldest_first_and_whole(store: UserStore) -> None:
    store.record([event(1, action="rated", value=4.0), event(2), event(3, action="rated", value=5.0)])
    taste = read(store).taste
    assert [(e.item_id, e.action, e.value, e.time_seconds) for e in taste] == [
        ("item-1", "rated", 4.0, 1),
        ("item-2", "to_read", None, 2),
        ("item-3", "rated", 5.0, 3),
    ]


def test_what_is_disliked_is_seen_and_no_taste(store: UserStore) -> None:
    store.record([event(1), event(2, action="rated", value=2.0), event(3, action="rated")])
    stored = read(store)
    assert [e.item_id for e in stored.taste] == ["item-1"]
    assert list(stored.seen_item_ids) == ["item-3", "item-2", "item-1"]


def test_seen_items_are_distinct(store: UserStore) -> None:
    store.record([event(1, item_id="a"), event(2, item_id="b"), event(3, item_id="a")])
    assert list(read(store).seen_item_ids) == ["a", "b"]


def test_the_newest_are_kept_within_the_limits(store: UserStore) -> None:
    store.record([event(number) for number in range(600)])
    stored = read(store, taste_count=50, seen_count=300)
    assert [e.item_id for e in stored.taste] == [f"item-{number}" for number in range(550, 600)]
    assert list(stored.seen_item_ids) == [f"item-{number}" for number in range(599, 299, -1)]


def test_taste_is_found_behind_many_other_events(store: UserStore) -> None:
    store.record([event(0), *(event(number, action="rated", value=1.0) for number in range(1, 1000))])
    stored = read(store)
    assert [e.item_id for e in stored.taste] == ["item-0"]
    assert len(stored.seen_item_ids) == 1000


def test_the_order_is_that_of_arrival(store: UserStore) -> None:
    store.record([event(9)])
    store.record([event(3)])
    assert [e.item_id for e in read(store).taste] == ["item-9", "item-3"]


def test_recording_is_idempotent_by_event_id(store: UserStore) -> None:
    assert store.record([event(1), event(2), event(1)]) == 2
    assert store.record([event(2, item_id="other"), event(3)]) == 1
    assert [e.item_id for e in read(store).taste] == ["item-1", "item-2", "item-3"]


def test_people_are_kept_apart(store: UserStore) -> None:
    store.record([event(1, "ann"), event(2, "bob"), event(3, "ann")])
    assert [e.item_id for e in read(store, "ann").taste] == ["item-1", "item-3"]
    assert [e.item_id for e in read(store, "bob").taste] == ["item-2"]


@pytest.mark.parametrize("text", ["o'Hara; DROP TABLE users", "été", "x" * 256, "\N{GRINNING FACE}", "a\x00b"])
def test_any_text_is_a_name(store: UserStore, text: str) -> None:
    store.record([NewEvent(text, text, text, text, 1.5, 7, text)])
    rule = TasteRule(ActionSchema((Action(text, text),)))
    stored = store.read(text, rule)
    assert stored is not None
    assert [tuple(e) for e in stored.taste] == [(text, text, 1.5, 7)]


def test_a_forgotten_person_is_unknown_and_others_stay(store: UserStore) -> None:
    store.record([event(1, "ann"), event(2, "bob")])
    assert store.forget("ann")
    assert store.read("ann", RULE) is None
    assert not store.forget("ann")
    assert [e.item_id for e in read(store, "bob").taste] == ["item-2"]
    # Nothing of them is left, so the event counts as new.
    assert store.record([event(1, "ann")]) == 1


@pytest.mark.parametrize("name", sorted(STORES))
def test_what_was_recorded_outlives_the_store(name: str, tmp_path: Path) -> None:
    first = STORES[name](tmp_path)
    first.record([event(1)])
    first.close()
    second = STORES[name](tmp_path)
    assert [e.item_id for e in read(second).taste] == ["item-1"]
    second.close()


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_second_store_sees_what_the_first_recorded_at_once(name: str, tmp_path: Path) -> None:
    first, second = STORES[name](tmp_path), STORES[name](tmp_path)
    first.record([event(1)])
    assert [e.item_id for e in read(second).taste] == ["item-1"]
    first.record([event(2, action="brand_new"), event(3)])
    assert list(read(second).seen_item_ids) == ["item-3", "item-2", "item-1"]
    first.close()
    second.close()


def test_threads_record_and_read_without_losing_events(store: UserStore) -> None:
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(25):
                mine = event(worker * 1000 + number, f"person-{worker}")
                shared = event(worker * 1000 + 500 + number, "everybody")
                store.record([mine, shared])
                # Visible to the very next read, whoever else writes.
                assert read(store, f"person-{worker}").taste[-1].item_id == mine.item_id
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(read(store, "everybody").seen_item_ids) == 150


def test_a_closed_store_says_that_it_is_unavailable(store: UserStore) -> None:
    store.record([event(1)])
    store.close()
    with pytest.raises(UserStoreUnavailable):
        store.record([event(2)])
    with pytest.raises(UserStoreUnavailable):
        store.read("ann", RULE)
