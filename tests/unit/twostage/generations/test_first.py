"""What is served first, and the wait for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.twostage.generations.made_store import MadeStore, numbers
from twostage.bundle.errors import BundleCorrupt, StoreMissing
from twostage.errors import NotReady
from twostage.generations.first import Abandoned
from twostage.generations.keeper import Keeper


def waiting_keeper(made: MadeStore, events: list[Callable[[], None]], **arguments: Any) -> Keeper[Any]:
    """A keeper that waits by its own clock; between two looks the next of ``events`` happens."""
    keeper = made.keeper(wait_seconds=math.inf, **arguments)

    def wait(seconds: float) -> bool:
        made.seconds += seconds
        if not events:
            raise AssertionError("nothing else happens, and it waits on")
        events.pop(0)()
        return keeper._stopping.is_set()

    keeper._stopping.wait = wait  # type: ignore[assignment,method-assign]
    return keeper


@pytest.fixture
def empty(made: MadeStore) -> MadeStore:
    """The store before anything was published to it."""
    (made.path / "CURRENT").unlink()
    (made.store.generations_path / "1" / "manifest.json").unlink()
    return made


def test_a_service_waits_for_the_first_generation_and_says_once_why(empty: MadeStore) -> None:
    told: list[str] = []

    def still_nothing() -> None: ...

    def publish() -> None:
        empty.publish(1)

    keeper = waiting_keeper(empty, [still_nothing, still_nothing, publish], on_wait=told.append)
    assert keeper.start().number == 1
    assert numbers(keeper) == [1]
    assert [line.partition(": ")[0] for line in told] == ["waiting for a generation"]
    assert "the store is empty, nothing was published to it yet" in told[0]
    assert keeper.waiting_for == told[0]
    assert empty.warnings == ["waiting for a generation"]


def test_a_generation_that_cannot_be_served_is_not_tried_again_until_it_is_replaced(made: MadeStore) -> None:
    made.faults[1] = BundleCorrupt(made.path / "x", "y", "z")

    def replace() -> None:
        made.faults.clear()
        made.publish(1)

    keeper = waiting_keeper(made, [lambda: None, lambda: None, replace])
    assert keeper.start().number == 1
    assert made.prepared == [1, 1]


def test_what_may_pass_is_tried_again_by_itself(made: MadeStore) -> None:
    made.faults[1] = NotReady("the model server is not there")
    keeper = waiting_keeper(made, [lambda: None] * 5 + [made.faults.clear, *[lambda: None] * 20])
    assert keeper.start().number == 1
    # Not each second: 5 s after the first failure, and 10 s after the second.
    assert made.prepared == [1, 1, 1]
    assert made.seconds == 15


def test_an_earlier_generation_that_appears_while_the_newest_is_refused_is_served(made: MadeStore) -> None:
    (made.store.generations_path / "1" / "manifest.json").unlink()
    made.publish(2)
    made.faults[2] = BundleCorrupt(made.path / "x", "y", "z")
    keeper = waiting_keeper(made, [lambda: None, lambda: made.publish(1, current=False)])
    assert keeper.start().number == 1
    keeper.look()
    assert (numbers(keeper), [one.number for one in keeper.refused]) == ([1], [2])


def test_a_pinned_generation_is_waited_for_and_no_other_will_do(made: MadeStore) -> None:
    made.faults[3] = FileNotFoundError("no such generation")

    def publish() -> None:
        made.faults.clear()
        made.publish(3, current=False)

    keeper = waiting_keeper(made, [lambda: None, publish])
    assert keeper.start(pinned=3).number == 3
    assert made.prepared == [3, 3]


def test_without_a_wait_and_after_it_the_failure_is_raised(empty: MadeStore) -> None:
    with pytest.raises(StoreMissing):
        empty.keeper().start()
    keeper = waiting_keeper(empty, [lambda: None] * 3)
    keeper._wait_seconds = 3.0
    with pytest.raises(StoreMissing):
        keeper.start()
    assert empty.seconds == 3


def test_a_stop_ends_the_wait(empty: MadeStore) -> None:
    keeper = empty.keeper(wait_seconds=math.inf)
    keeper._stopping.set()
    with pytest.raises(Abandoned, match="the service stops"):
        keeper.start()
