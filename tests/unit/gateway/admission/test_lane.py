from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from gateway.admission.lane import LEAST_RETRY_SECONDS, MOST_RETRY_SECONDS, Lane, Refused, with_jitter
from gateway.admission.limit import FixedLimit
from gateway.admission.queue import Reason, WaitingRoom


def make(limit: int = 1, capacity: int = 8, wait_share: float = 0.5) -> Lane:
    return Lane("answers", FixedLimit(limit), WaitingRoom(capacity), wait_share=wait_share)


def leave(lane: Lane) -> None:
    lane.leave("kind", 0.0, 1, answered=True, whole=True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def refused(future: Future[int]) -> Reason:
    error = future.exception(timeout=10)
    assert isinstance(error, Refused)
    return error.reason


def never_asked() -> float:
    raise AssertionError("the deadline is asked for only when there is no place")


def test_there_are_as_many_places_as_the_limit_allows() -> None:
    lane = make(limit=2, capacity=0)
    assert [lane.enter(5, never_asked), lane.enter(5, never_asked)] == [1, 2]
    with pytest.raises(Refused, match="full"):
        lane.enter(9, lambda: 1.0)
    leave(lane)
    assert lane.enter(5, never_asked) == 2


def test_those_who_wait_get_the_places_in_the_order_of_the_room() -> None:
    lane = make()
    lane.enter(5, never_asked)
    entered: list[int] = []

    def come(priority: int) -> int:
        found = lane.enter(priority, lambda: 20.0)
        entered.append(priority)
        return found

    with ThreadPoolExecutor(4) as pool:
        futures = []
        for count, priority in enumerate((2, 7, 0, 5), 1):
            futures.append(pool.submit(come, priority))
            until(lambda count=count: len(lane.room) == count)  # type: ignore[misc]
        for count in range(1, 5):
            leave(lane)
            until(lambda count=count: len(entered) == count)  # type: ignore[misc]
        assert [future.result() for future in futures] == [1] * 4
    assert entered == [7, 5, 2, 0]
    leave(lane)
    assert (lane.in_flight_count, len(lane.room)) == (0, 0)


def test_nobody_waits_longer_than_its_share_of_the_callers_time() -> None:
    lane = make(wait_share=0.25)
    lane.enter(5, never_asked)
    before = time.monotonic()
    with pytest.raises(Refused, match="waited"):
        lane.enter(5, lambda: 0.4)
    waited = time.monotonic() - before
    assert 0.09 < waited < 0.39
    assert len(lane.room) == 0


def test_one_that_is_displaced_is_told_at_once() -> None:
    lane = make(capacity=1)
    lane.enter(5, never_asked)
    with ThreadPoolExecutor(2) as pool:
        low = pool.submit(lane.enter, 2, lambda: 60.0)
        until(lambda: len(lane.room) == 1)
        high = pool.submit(lane.enter, 3, lambda: 60.0)
        assert refused(low) is Reason.DISPLACED
        leave(lane)
        assert high.result(10) == 1


def test_a_place_that_comes_too_late_goes_to_the_next() -> None:
    lane = make()
    lane.limit.note("kind", 0.5, 1, whole=True)
    lane.enter(5, never_asked)
    with ThreadPoolExecutor(2) as pool:
        # With half a second of work ahead and as much of its own, it needs one second and a little luck.
        tight = pool.submit(lane.enter, 9, lambda: 1.2)
        until(lambda: len(lane.room) == 1)
        easy = pool.submit(lane.enter, 1, lambda: 60.0)
        until(lambda: len(lane.room) == 2)
        assert refused(tight) in (Reason.WAITED, Reason.HOPELESS)
        leave(lane)
        assert easy.result(10) == 1


def test_a_higher_limit_lets_in_those_who_wait() -> None:
    lane = make()
    lane.enter(5, never_asked)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(lane.enter, 5, lambda: 60.0) for _ in range(3)]
        until(lambda: len(lane.room) == 3)
        assert isinstance(lane.limit, FixedLimit)
        lane.limit.value = 3
        leave(lane)
        assert [future.result(10) for future in futures] == [3, 3, 3]


def test_the_time_to_try_again_grows_with_what_is_refused() -> None:
    lane = make(capacity=0)
    lane.enter(5, never_asked)
    told = []
    for _ in range(300):
        with pytest.raises(Refused) as caught:
            lane.enter(5, lambda: 1.0)
        told.append(caught.value.retry_after_seconds)
    assert told[0] < 3 * LEAST_RETRY_SECONDS
    assert told == sorted(told)
    assert told[-1] == MOST_RETRY_SECONDS


def test_jitter_stays_within_a_quarter_and_differs() -> None:
    drawn = {with_jitter(2.0) for _ in range(200)}
    assert 1.5 <= min(drawn) < 1.6
    assert 2.4 < max(drawn) <= 2.5


def test_no_place_is_lost_or_given_twice_among_many_threads() -> None:
    lane = make(limit=3, capacity=6)
    lock = threading.Lock()
    inside = most = served = 0
    refusals: list[Reason] = []

    def come(position: int) -> None:
        nonlocal inside, most, served
        for step in range(60):
            try:
                lane.enter((position + step) % 10, lambda: 0.05)
            except Refused as error:
                with lock:
                    refusals.append(error.reason)
                continue
            with lock:
                inside += 1
                most = max(most, inside)
                served += 1
            if step % 4 == 0:
                time.sleep(0.0005)
            with lock:
                inside -= 1
            leave(lane)

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(come, position) for position in range(16)]:
            future.result(60)
    assert most <= 3
    assert served + len(refusals) == 16 * 60
    assert (lane.in_flight_count, len(lane.room)) == (0, 0)


def test_newcomers_are_refused_on_the_doorstep_only_while_there_is_no_place_either() -> None:
    for capacity in (0, 1):
        lane = make(limit=2, capacity=capacity)
        assert lane.refuses_up_to == -1
        lane.enter(5, never_asked)
        assert lane.refuses_up_to == -1
        lane.enter(5, never_asked)
        assert (lane.refuses_up_to == -1) == bool(capacity)
        leave(lane)
        assert lane.refuses_up_to == -1
