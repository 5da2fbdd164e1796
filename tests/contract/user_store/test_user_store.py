"""What every user store must do; each is opened by `stores.STORES`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from gateway.users.store import MAX_KEPT_EVENT_COUNT, NewEvent, UserStore, UserStoreUnavailable
from tests.contract.user_store.stores import NAMES, SKIPPED, Place, place
from tests.redis_server import RedisServer
from twostage.features.actions import Action, ActionSchema

DAY = 86_400

RULE = TasteRule(
    ActionSchema(
        (
            Action("rated", "rated", taste=False),
            Action("liked", "rated", min_value=4.0),
            Action("to_read", "to_read"),
        )
    )
)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer | None]:
    if len(SKIPPED) == len([name for name in NAMES if name != "sqlite"]):
        yield None
        return
    with RedisServer() as running:
        yield running


@pytest.fixture(params=NAMES)
def where(request: pytest.FixtureRequest, tmp_path: Path, server: RedisServer | None) -> Iterator[Place]:
    if request.param in SKIPPED:
        pytest.skip("redis-server is not installed")
    with place(request.param, tmp_path, server) as made:
        yield made


@pytest.fixture
def store(where: Place) -> Iterator[UserStore]:
    opened = where.open(None)
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
    assert store.forget("ann") == 1
    assert store.read("ann", RULE) is None
    assert store.describe("ann", 10) is None
    assert store.forget("ann") is None
    assert [e.item_id for e in read(store, "bob").taste] == ["item-2"]
    # Nothing of them is left, so the event counts as new.
    assert store.record([event(1, "ann")]) == 1


def test_what_was_recorded_outlives_the_store(where: Place) -> None:
    first = where.open(None)
    first.record([event(1)])
    first.close()
    second = where.open(None)
    assert [e.item_id for e in read(second).taste] == ["item-1"]
    second.close()


def test_a_second_store_sees_what_the_first_recorded_at_once(where: Place) -> None:
    first, second = where.open(None), where.open(None)
    first.record([event(1)])
    assert [e.item_id for e in read(second).taste] == ["item-1"]
    first.record([event(2, action="brand_new"), event(3)])
    assert list(read(second).seen_item_ids) == ["item-3", "item-2", "item-1"]
    assert second.forget("ann") == 3
    assert first.read("ann", RULE) is None
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
    with pytest.raises(UserStoreUnavailable):
        store.describe("ann", 1)
    with pytest.raises(UserStoreUnavailable):
        store.forget("ann")


def test_an_event_is_named_among_its_persons(store: UserStore) -> None:
    assert store.record([event(1, "ann"), event(1, "bob", item_id="other")]) == 2
    assert [e.item_id for e in read(store, "ann").taste] == ["item-1"]
    assert [e.item_id for e in read(store, "bob").taste] == ["other"]


def test_an_event_whose_name_is_part_of_another_is_new(store: UserStore) -> None:
    names = ["abc", "ab", "bc", "b", "abcd", "a\x00", "a"]
    assert store.record([NewEvent(names[0], "ann", "i", "to_read", None, 0)]) == 1
    for name in names[1:]:
        assert store.record([NewEvent(name, "ann", "i", "to_read", None, 0)]) == 1
    assert store.record([NewEvent(name, "ann", "i", "to_read", None, 0) for name in [*names, "new"] * 2]) == 1


@pytest.mark.parametrize("batch", [1, 700])
def test_only_the_newest_events_of_a_person_are_kept(store: UserStore, batch: int) -> None:
    store.record([event(0, "bob")])
    for start in range(0, 10_400, 800):
        store.record([event(number) for number in range(start, min(start + 800, 10_399))])
    for start in range(10_399, 10_500, batch):
        store.record([event(number) for number in range(start, min(start + batch, 10_500))])
        record = store.describe("ann", 1)
        assert record is not None
        assert record.event_count == min(start + batch, 10_500) - max(
            0, min(start + batch, 10_500) - MAX_KEPT_EVENT_COUNT
        )
    stored = read(store)
    assert list(stored.seen_item_ids) == [f"item-{number}" for number in range(10_499, 499, -1)]
    assert [e.item_id for e in stored.taste] == [f"item-{number}" for number in range(10_450, 10_500)]
    # What is kept is known again by its name, in a small batch and in a large one; what went counts as new.
    assert store.record([event(number) for number in range(500, 505)]) == 0
    assert store.record([event(number) for number in range(500, 600)]) == 0
    assert store.record([event(499)]) == 1
    assert len(read(store, "bob").seen_item_ids) == 1


def test_all_of_a_person_is_described_the_newest_first(store: UserStore) -> None:
    store.record([NewEvent("a", "ann", "x", "rated", 4.5, 11, "req"), NewEvent("b", "ann", "y", "to_read", None, 7)])
    record = store.describe("ann", 10)
    assert record is not None
    assert (record.event_count, record.expires_seconds) == (2, None)
    assert [(e.event_id, e.item_id, e.action, e.value, e.time_seconds, e.request_id) for e in record.events] == [
        ("b", "y", "to_read", None, 7, ""),
        ("a", "x", "rated", 4.5, 11, "req"),
    ]
    shorter = store.describe("ann", 1)
    assert shorter is not None
    assert (shorter.event_count, [e.event_id for e in shorter.events]) == (2, ["b"])
    none_of_it = store.describe("ann", 0)
    assert none_of_it is not None
    assert (none_of_it.event_count, list(none_of_it.events)) == (2, [])
    assert store.describe("bob", 10) is None


@pytest.mark.parametrize("value", [0.1, 1e-45, -3.4028234663852886e38, 4.0, 0.0, -0.0, 1 / 3])
def test_values_come_back_as_they_went(store: UserStore, value: float) -> None:
    store.record([event(1, value=value)])
    assert read(store).taste[0].value == value


def test_a_persons_time_is_put_off_by_what_is_new_and_not_by_what_is_repeated(where: Place) -> None:
    short, long = where.open(DAY), where.open(10 * DAY)
    before = time.time()
    short.record([event(1)])
    long.record([event(1)])
    first = short.describe("ann", 0)
    assert first is not None
    assert first.expires_seconds is not None
    assert before + DAY - 2 < first.expires_seconds < time.time() + DAY + 2
    long.record([event(2)])
    second = short.describe("ann", 0)
    assert second is not None
    assert second.expires_seconds is not None
    assert before + 10 * DAY - 2 < second.expires_seconds < time.time() + 10 * DAY + 2
    # A store that keeps people for ever takes the date away at the next event.
    ever = where.open(None)
    ever.record([event(3)])
    third = short.describe("ann", 0)
    assert third is not None
    assert third.expires_seconds is None
    for each in (short, long, ever):
        each.close()


def test_whose_time_is_over_is_unknown_and_begins_anew(where: Place) -> None:
    brief = where.open(1)
    brief.record([event(1), event(2), event(3, "bob")])
    deadline = time.monotonic() + 30
    while brief.read("ann", RULE) is not None or brief.read("bob", RULE) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert brief.describe("ann", 10) is None
    brief.close()
    ever = where.open(None)
    assert ever.forget("bob") is None
    assert ever.record([event(2)]) == 1
    assert [e.item_id for e in read(ever).taste] == ["item-2"]
    ever.close()


def test_nothing_of_a_forgotten_person_is_left_anywhere(where: Place) -> None:
    store = where.open(DAY)
    traces = [b"mrs-remarkable", b"item-of-hers", b"event-of-hers", b"answer-of-hers"]
    store.record([event(1, "bob")])
    hers = "mrs-remarkable"
    store.record(
        [
            NewEvent(f"event-of-hers-{number}", hers, f"item-of-hers-{number}", "to_read", None, 1, "answer-of-hers")
            for number in range(500)
        ]
    )
    assert store.read("mrs-remarkable", RULE) is not None
    assert all(trace in where.content() for trace in traces), "else this test looks in the wrong place"
    assert store.forget("mrs-remarkable") == 500
    left = where.content()
    assert not [trace for trace in traces if trace in left]
    assert b"bob" in left
    # A late repetition is about somebody new, and brings nothing back.
    store.record([NewEvent("event-of-hers-1", "mrs-remarkable", "item-of-hers-1", "to_read", None, 1)])
    assert list(read(store, "mrs-remarkable").seen_item_ids) == ["item-of-hers-1"]
    store.close()


def test_a_batch_is_about_many_people_at_once(store: UserStore) -> None:
    assert store.record([event(number, f"person-{number % 300}") for number in range(1_000)]) == 1_000
    assert list(read(store, "person-0").seen_item_ids) == [f"item-{number}" for number in (900, 600, 300, 0)]


_events = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 6),
    st.integers(0, 4),
    st.sampled_from([("rated", 5.0), ("rated", 1.0), ("to_read", None)]),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batches=st.lists(st.one_of(st.sampled_from("ab"), st.lists(_events, min_size=1, max_size=12)), max_size=10))
def test_a_store_behaves_like_lists_in_memory(
    store: UserStore, batches: list[str | list[tuple[str, int, int, tuple[str, float | None]]]]
) -> None:
    for user in "ab":
        store.forget(user)
    model: dict[str, dict[str, tuple[str, str, float | None]]] = {}
    for batch in batches:
        if isinstance(batch, str):
            removed = model.pop(batch, None)
            assert store.forget(batch) == (None if removed is None else len(removed))
            continue
        new_count = 0
        for user, name, item, (action, value) in batch:
            mine = model.setdefault(user, {})
            if f"e{name}" not in mine:
                mine[f"e{name}"] = (f"i{item}", action, value)
                new_count += 1
        events = [
            NewEvent(f"e{name}", user, f"i{item}", action, value, 9) for user, name, item, (action, value) in batch
        ]
        assert store.record(events) == new_count
        for user, mine in model.items():
            record = store.describe(user, 100)
            assert record is not None
            found = [(e.event_id, (e.item_id, e.action, e.value)) for e in reversed(record.events)]
            assert found == list(mine.items())
            taste = RULE.newest([(*columns, 9) for columns in reversed(mine.values())], 50)
            assert list(read(store, user).taste) == taste
            assert list(read(store, user).seen_item_ids) == list(dict.fromkeys(c[0] for c in reversed(mine.values())))
