from __future__ import annotations

import sys
import threading
import time

import pytest

from tests.unit.twostage.generations.made_store import MadeEngine, MadeStore, numbers
from twostage.bundle.errors import BundleCorrupt, StoreUnreachable
from twostage.errors import GenerationNotLoaded, InvalidField, NotReady
from twostage.generations.first import Abandoned
from twostage.generations.keeper import Keeper


def test_before_the_start_nothing_is_ready(made: MadeStore) -> None:
    keeper = made.keeper()
    with pytest.raises(NotReady, match="no generation is loaded"):
        keeper.held()
    assert (keeper.all, keeper.refused, keeper.preparing) == ((), (), 0)


def test_the_start_holds_what_current_names_and_a_look_the_one_before(made: MadeStore) -> None:
    made.publish(2)
    keeper = made.keeper()
    assert keeper.start().number == 2
    assert numbers(keeper) == [2]
    keeper.look()
    assert numbers(keeper) == [2, 1]
    assert (keeper.held().number, keeper.held(2).number, keeper.held(1).number) == (2, 2, 1)


def test_other_generations_are_refused_with_those_held_and_negative_ones_as_bad_input(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    with pytest.raises(GenerationNotLoaded) as caught:
        keeper.held(2)
    assert caught.value.held == (1,)
    with pytest.raises(InvalidField, match="generation: expected 0 for the active one"):
        keeper.held(-1)


def test_a_new_current_is_prepared_and_the_old_one_kept(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    held_while_preparing: list[list[int]] = []
    preparing: list[int] = []

    def note(number: int) -> None:
        held_while_preparing.append(numbers(keeper))
        preparing.append(keeper.preparing)

    made.on_prepare = note
    made.publish(2)
    keeper.look()
    made.publish(3)
    keeper.look()
    assert held_while_preparing == [[1], [2, 1]]
    assert preparing == [2, 3]
    assert (numbers(keeper), keeper.preparing) == ([3, 2], 0)


def test_a_rollback_to_what_is_held_prepares_nothing(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.publish(2)
    keeper.look()
    made.point(1)
    keeper.look()
    assert numbers(keeper) == [1, 2]
    assert made.prepared == [1, 2]


def test_a_rollback_further_back_is_prepared(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    for number in (2, 3):
        made.publish(number)
        keeper.look()
    made.point(1)
    keeper.look()
    assert numbers(keeper) == [1, 3]


def test_a_generation_taken_back_while_it_is_prepared_never_becomes_active(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.publish(2)
    keeper.look()
    made.on_prepare = lambda number: made.point(1) if number == 3 else None
    made.publish(3)
    keeper.look()
    assert numbers(keeper) == [2, 1]
    assert made.closed == [3]
    keeper.look()
    assert numbers(keeper) == [1, 2]
    assert made.prepared == [1, 2, 3]
    assert keeper.refused == ()


@pytest.mark.parametrize("by", ["number", "note"])
def test_what_is_asked_for_instead_of_the_active_generation_is_kept_by_the_next_swap(made: MadeStore, by: str) -> None:
    keeper = made.keeper()
    keeper.start()
    made.publish(2)
    keeper.look()
    # As when another service refused 2: everybody is answered from 1.
    if by == "number":
        keeper.held(1)
    else:
        keeper.note_asked(1)
    made.publish(3)
    keeper.look()
    assert numbers(keeper) == [3, 1]


@pytest.mark.parametrize(("ago_seconds", "kept"), [(2.0, 2), (4.0, 1)])
def test_a_lagging_caller_does_not_take_the_formerly_active_generation_away(
    made: MadeStore, ago_seconds: float, kept: int
) -> None:
    keeper = made.keeper()
    keeper.start()
    made.publish(2)
    keeper.look()
    keeper.held()
    made.seconds += ago_seconds
    keeper.held(1)
    made.publish(3)
    keeper.look()
    assert numbers(keeper) == [3, kept]


def test_what_drops_out_is_closed_when_its_last_request_is_over(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    request = keeper.held()
    for number in (2, 3):
        made.publish(number)
        keeper.look()
    keeper.look()
    assert made.closed == []
    del request
    assert made.closed == []  # not by the thread of the request
    keeper.look()
    assert made.closed == [1]


def test_the_end_closes_all_that_is_held(made: MadeStore) -> None:
    keeper = made.keeper()
    keeper.start()
    made.publish(2)
    keeper.look()
    request = keeper.held()
    keeper.close()
    assert sorted(made.closed) == [1, 2]
    assert request.number == 2
    with pytest.raises(NotReady):
        keeper.held()


def test_a_pinned_generation_is_served_alone_whatever_current_does(made: MadeStore) -> None:
    made.publish(2)
    keeper = made.keeper(poll_seconds=0.01)
    assert keeper.start(pinned=1).number == 1
    keeper.watch()
    made.publish(3)
    time.sleep(0.1)
    assert (numbers(keeper), made.prepared) == ([1], [1])
    made.faults[2] = BundleCorrupt("two", "a", "b")
    with pytest.raises(BundleCorrupt, match="two"):
        made.keeper().start(pinned=2)


def test_polling_every_0_seconds_is_never(made: MadeStore) -> None:
    keeper = made.keeper(poll_seconds=0)
    keeper.start()
    keeper.watch()
    made.publish(2)
    time.sleep(0.05)
    assert numbers(keeper) == [1]


def test_the_watching_thread_follows_and_ends_with_close(made: MadeStore) -> None:
    keeper = made.keeper(poll_seconds=0.01)
    keeper.start()
    threads: set[str] = set()
    made.on_prepare = lambda _: threads.add(threading.current_thread().name)
    keeper.watch()
    made.publish(2)
    _until(lambda: numbers(keeper) == [2, 1])
    assert threads == {"generations"}
    keeper.close()
    assert "generations" not in {thread.name for thread in threading.enumerate()}
    assert sorted(made.closed) == [1, 2]


def test_a_long_preparation_is_given_up_when_current_moves_on(made: MadeStore) -> None:
    keeper = made.keeper(poll_seconds=0.01)
    keeper.start()
    waiting = threading.Event()

    def wait(number: int) -> None:
        while number == 2:
            waiting.set()
            keeper.require_wanted(2)
            time.sleep(0.005)

    made.on_prepare = wait
    keeper.watch()
    made.publish(2)
    assert waiting.wait(5)
    made.publish(3)
    _until(lambda: numbers(keeper) == [3, 1])
    assert keeper.refused == ()
    keeper.close()


def test_a_long_preparation_is_given_up_when_the_service_stops(made: MadeStore) -> None:
    keeper = made.keeper(poll_seconds=0.01)
    keeper.start()
    waiting = threading.Event()

    def wait(number: int) -> None:
        while True:
            waiting.set()
            keeper.require_wanted(number)
            time.sleep(0.005)

    made.on_prepare = wait
    keeper.watch()
    made.publish(2)
    assert waiting.wait(5)
    started = time.monotonic()
    keeper.close()
    assert time.monotonic() - started < 2
    with pytest.raises(Abandoned):
        keeper.require_wanted(2)


def test_a_preparation_that_is_still_wanted_goes_on(made: MadeStore) -> None:
    keeper = made.keeper(poll_seconds=0.0)
    keeper.require_wanted(1)
    keeper.start()
    made.publish(2)
    keeper.require_wanted(2)
    made.point(1)
    keeper.require_wanted(2)
    made.point("x")
    keeper.require_wanted(2)


def test_a_remote_store_that_goes_away_changes_nothing(made: MadeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = made.keeper()
    keeper.start()
    made.publish(2)

    def unreachable(*_: object) -> int:
        raise StoreUnreachable("s3://bucket", "timed out")

    with monkeypatch.context() as patch:
        patch.setattr(type(made.store), "current", unreachable)
        patch.setattr(type(made.store), "previous", unreachable)
        keeper.look()
        keeper.look()
        keeper.require_wanted(2)
    assert (numbers(keeper), keeper.refused, made.prepared) == ([1], (), [1])
    assert made.warnings == ["the store's CURRENT cannot be followed"]
    keeper.look()
    assert numbers(keeper) == [2, 1]


def test_what_is_held_or_tried_again_by_itself_is_wanted(made: MadeStore) -> None:
    wanted: list[frozenset[int]] = []
    keeper: Keeper[MadeEngine] = made.keeper(tend=wanted.append)
    keeper.start()
    made.publish(2)
    keeper.look()
    made.faults[3] = NotReady("not yet")
    made.publish(3)
    keeper.look()
    made.faults[4] = BundleCorrupt("a", "b", "c")
    made.publish(4)
    keeper.look()
    assert wanted == [{1, 2}, {1, 2, 3}, {1, 2}]


def test_threads_that_serve_get_their_turn_sooner_while_a_generation_is_prepared(made: MadeStore) -> None:
    usual = sys.getswitchinterval()
    seen: list[float] = []
    made.on_prepare = lambda _: seen.append(sys.getswitchinterval())
    keeper = made.keeper()
    keeper.start()
    made.faults[2] = BundleCorrupt("a", "b", "c")
    made.publish(2)
    keeper.look()
    assert seen == pytest.approx([usual, 0.0005])
    assert sys.getswitchinterval() == usual


def test_a_failing_close_does_not_end_following(made: MadeStore) -> None:
    def fail() -> None:
        raise OSError("gone")

    keeper = Keeper(made.store, made.prepare, logger=made.logger, closer_of=lambda _: fail)
    keeper.start()
    for number in (2, 3, 4):
        made.publish(number)
        keeper.look()
    assert numbers(keeper) == [4, 3]


def _until(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
