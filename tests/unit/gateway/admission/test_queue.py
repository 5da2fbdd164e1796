from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.queue import Pace, Reason, Waiter, WaitingRoom

SLOW = Pace(limit=4, service_seconds=0.2)
PACE = Pace(limit=4, service_seconds=0.0)


def waiter(priority: int = 5, deadline: float = 10.0, leave_by: float = 5.0) -> Waiter:
    return Waiter(priority, deadline, leave_by)


def let_in(room: WaitingRoom, *waiters: Waiter, now: float = 0.0) -> None:
    for each in waiters:
        assert room.offer(each, now, PACE) == (None, [])


def order(room: WaitingRoom, now: float = 0.0) -> list[Waiter]:
    found = []
    while (each := room.next(now, PACE)[0]) is not None:
        found.append(each)
    return found


def test_the_highest_priority_is_next_then_the_earliest_deadline_then_the_first_to_come() -> None:
    room = WaitingRoom(10)
    late, soon, first, second, low = (
        waiter(7, 9.0),
        waiter(7, 3.0),
        waiter(5, 2.0),
        waiter(5, 2.0),
        waiter(0, 1.0),
    )
    let_in(room, low, first, late, second, soon)
    assert order(room) == [soon, late, first, second, low]


def test_a_full_room_refuses_the_newcomer_unless_its_priority_is_higher_than_somebodys() -> None:
    room = WaitingRoom(2)
    low, high = waiter(3), waiter(8)
    let_in(room, low, high)
    assert room.refuses_up_to == 3
    assert room.offer(waiter(3, deadline=1.0), 0.0, PACE) == (Reason.FULL, [])
    newcomer = waiter(4)
    assert room.offer(newcomer, 0.0, PACE) == (None, [low])
    assert low.refused is Reason.DISPLACED
    assert room.refuses_up_to == 4
    assert order(room) == [high, newcomer]
    assert room.refuses_up_to == -1


def test_among_equal_priorities_the_one_that_is_due_last_is_displaced() -> None:
    room = WaitingRoom(2)
    soon, late = waiter(3, deadline=6.0), waiter(3, deadline=9.0)
    let_in(room, late, soon)
    assert room.offer(waiter(4), 0.0, PACE)[1] == [late]


def test_a_room_for_nobody_refuses_everybody() -> None:
    room = WaitingRoom(0)
    assert room.refuses_up_to >= 9
    assert room.offer(waiter(9), 0.0, PACE) == (Reason.FULL, [])


def test_those_who_cannot_be_served_in_time_any_more_are_dropped_before_the_next() -> None:
    room = WaitingRoom(10)
    pace = Pace(limit=4, service_seconds=1.0)
    hopeless, fine = waiter(5, deadline=4.0), waiter(5, deadline=9.0)
    let_in(room, hopeless, fine)
    assert room.next(3.5, pace) == (fine, [hopeless])
    assert hopeless.refused is Reason.HOPELESS


def test_nobody_waits_whose_turn_would_come_too_late() -> None:
    room = WaitingRoom(10)
    pace = Pace(limit=2, service_seconds=1.0)
    let_in(room, waiter(5, deadline=5.0), waiter(5, deadline=5.0))
    # Two are before it: its turn comes after three halves of a second.
    assert room.offer(waiter(5, leave_by=1.4), 0.0, pace)[0] is Reason.HOPELESS
    assert room.offer(waiter(5, leave_by=1.6), 0.0, pace)[0] is None
    assert room.offer(waiter(6, leave_by=0.6), 0.0, pace)[0] is None


def test_a_room_that_stands_holds_no_more_than_are_worked_on() -> None:
    room = WaitingRoom(10)
    crowd = [waiter(5, deadline=10.0 + position) for position in range(8)]
    let_in(room, *crowd)
    assert room.capacity(0.1, SLOW) == 10
    assert room.capacity(0.11, SLOW) == 4
    reason, displaced = room.offer(waiter(5), 0.2, SLOW)
    assert reason is Reason.FULL
    assert displaced == crowd[:3:-1]
    assert order(room, 0.2) == crowd[:4]
    # Empty for a moment: it stands still.
    let_in(room, waiter(), now=0.25)
    assert room.capacity(0.25, SLOW) == 4
    assert len(order(room, 0.25)) == 1
    # Empty for long: it is a buffer again.
    let_in(room, waiter(), now=1.0)
    assert room.capacity(1.05, SLOW) == 10


def test_a_room_that_stands_holds_those_whose_turn_comes_within_a_tenth_of_a_second() -> None:
    room = WaitingRoom(64)
    let_in(room, *(waiter(5, deadline=10.0 + position) for position in range(8)))
    # Each is worked on for 20 ms, four at once: the twentieth waits for 0.1 s.
    assert room.capacity(0.2, Pace(4, 0.02)) == 20
    assert room.offer(waiter(5), 0.2, Pace(4, 0.02)) == (None, [])
    # Too slow for that; and as many as are worked on may wait in any case.
    assert room.capacity(0.2, Pace(4, 0.2)) == 4
    assert WaitingRoom(10).capacity(0.2, Pace(4, 0.001)) == 10


def test_the_next_of_a_standing_room_shrinks_it_too() -> None:
    room = WaitingRoom(10)
    crowd = [waiter(5, deadline=10.0 + position) for position in range(8)]
    let_in(room, *crowd)
    found, refused = room.next(0.2, SLOW)
    assert (found, refused) == (crowd[0], crowd[:3:-1])
    assert len(room) == 3


def test_one_that_waits_no_longer_is_taken_out_once() -> None:
    room = WaitingRoom(1)
    one = waiter()
    let_in(room, one)
    assert room.refuses_up_to == 5
    assert room.remove(one, 0.0, PACE)
    assert room.refuses_up_to == -1
    assert not room.remove(one, 0.0, PACE)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["offer", "offer", "next"]), st.integers(0, 9), st.floats(0.1, 5), st.floats(0, 0.05)
        ),
        max_size=80,
    ),
    st.integers(0, 6),
    st.integers(1, 4),
)
def test_everybody_is_let_in_or_refused_once_and_the_room_never_overflows(
    steps: list[tuple[str, int, float, float]], capacity: int, limit: int
) -> None:
    room = WaitingRoom(capacity)
    pace = Pace(limit, 0.01)
    now = 0.0
    inside: list[Waiter] = []
    for what, priority, left, wait in steps:
        now += wait
        allowed = room.capacity(now, pace)
        if what == "offer":
            new = waiter(priority, now + left, now + left)
            reason, displaced = room.offer(new, now, pace)
            for each in displaced:
                inside.remove(each)
                assert each.refused is Reason.DISPLACED
                assert reason is not None or all(each.order >= other.order for other in inside)
            if reason is None:
                inside.append(new)
        else:
            found, refused = room.next(now, pace)
            for each in refused:
                inside.remove(each)
                assert each.refused in (Reason.HOPELESS, Reason.DISPLACED)
            if found is not None:
                assert all(found.order <= other.order for other in inside)
                inside.remove(found)
        assert len(room) == len(inside) <= max(capacity, 0)
        assert len(inside) <= max(allowed, 1) or what == "next"
        lowest = min((each.priority for each in inside), default=-1)
        assert room.refuses_up_to in ((-1, lowest) if capacity else (1_000,))


@pytest.mark.parametrize("ahead_count", [0, 3, 9])
def test_the_wait_is_the_work_ahead_over_those_who_work(ahead_count: int) -> None:
    assert Pace(4, 0.02).wait_seconds(ahead_count) == pytest.approx((ahead_count + 1) * 0.005)
