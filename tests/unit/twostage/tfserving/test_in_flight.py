"""The places for calls to a model server, with a clock that the test turns."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from twostage.tfserving.in_flight import MAX_RELEASE_SECONDS, InFlight


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def _enter(places: InFlight) -> float:
    sent = places.enter()
    assert sent is not None
    return sent


def test_there_are_as_many_places_as_said_and_an_answer_gives_one_back() -> None:
    places = InFlight(2, Clock())
    first, _ = _enter(places), _enter(places)
    assert places.enter() is None
    places.answered("m", first)
    assert places.enter() is not None
    assert places.enter() is None


def test_a_call_that_was_given_up_keeps_its_place() -> None:
    clock = Clock()
    places = InFlight(1, clock)
    sent = _enter(places)
    clock.now += 0.2
    places.abandoned("m", sent)
    assert places.abandoned_count == 1
    clock.now += 0.19
    assert places.enter() is None


def test_an_answer_to_a_later_call_gives_back_the_places_that_the_model_passed() -> None:
    clock = Clock()
    places = InFlight(4, clock)
    given_up = []
    for _ in range(3):
        given_up.append(_enter(places))
        clock.now += 0.01
    later = _enter(places)
    for sent in given_up:
        places.abandoned("m", sent)
    assert places.enter() is None
    places.answered("m", later)
    assert places.abandoned_count == 0
    assert all(places.enter() is not None for _ in range(4))


def test_an_answer_to_an_earlier_call_or_of_another_model_says_nothing_about_those_given_up() -> None:
    clock = Clock()
    places = InFlight(3, clock)
    earlier = _enter(places)
    clock.now += 0.01
    given_up = _enter(places)
    clock.now += 0.01
    other = _enter(places)
    places.abandoned("m", given_up)
    places.answered("m", earlier)
    places.answered("another", other)
    assert places.abandoned_count == 1


def test_a_broken_connection_gives_all_places_back() -> None:
    places = InFlight(3, Clock())
    for _ in range(2):
        places.abandoned("m", _enter(places))
    _enter(places)
    places.broken()
    assert places.abandoned_count == 0
    assert [places.enter() is not None for _ in range(4)] == [True, True, True, False]


def test_what_the_server_refused_at_once_gives_its_place_back_and_proves_nothing() -> None:
    clock = Clock()
    places = InFlight(2, clock)
    places.abandoned("m", _enter(places))
    clock.now += 0.01
    _enter(places)
    places.refused()
    assert places.abandoned_count == 1
    assert places.enter() is not None


def test_without_any_answer_places_come_back_after_what_was_waited_then_ever_more_slowly() -> None:
    clock = Clock()
    places = InFlight(8, clock)
    calls = [_enter(places) for _ in range(8)]
    clock.now += 0.2
    for sent in calls:
        places.abandoned("m", sent)
    waits = []
    for _ in range(7):
        begun = clock.now
        while (attempt := places.enter()) is None:
            clock.now += 0.001
        waits.append(round(clock.now - begun, 2))
        places.abandoned("m", attempt)
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_the_time_that_a_model_usually_takes_counts_when_it_is_longer_than_what_was_waited() -> None:
    clock = Clock()
    places = InFlight(1, clock)
    sent = _enter(places)
    clock.now += 2.0
    places.answered("m", sent)
    sent = _enter(places)
    clock.now += 0.1
    places.abandoned("m", sent)
    clock.now += 1.95
    assert places.enter() is None
    clock.now += 0.1
    assert places.enter() is not None


def test_the_answer_of_the_one_that_tries_the_server_out_gives_all_places_back() -> None:
    clock = Clock()
    places = InFlight(5, clock)
    for sent in [_enter(places) for _ in range(5)]:
        places.abandoned("m", sent)
    clock.now += 60
    attempt = _enter(places)
    assert places.enter() is None
    clock.now += 0.01
    places.answered("m", attempt)
    assert all(places.enter() is not None for _ in range(5))


@given(st.integers(1, 16), st.floats(0.001, 0.5), st.floats(10, 300))
def test_a_hung_server_is_sent_the_bound_and_a_few_calls_more(max_count: int, patience: float, seconds: float) -> None:
    clock = Clock()
    places = InFlight(max_count, clock)
    end = clock.now + seconds
    sent_count = 0
    while clock.now < end:
        sent = places.enter()
        if sent is None:
            clock.now += 0.05
            continue
        sent_count += 1
        clock.now += patience
        places.abandoned("m", sent)
    # From 0.05 s by doubling to MAX_RELEASE_SECONDS are seven releases.
    assert sent_count <= max_count + 8 + seconds / MAX_RELEASE_SECONDS


@given(st.lists(st.tuples(st.sampled_from(["enter", "answered", "refused", "broken", "abandoned"]), st.floats(0, 3))))
def test_places_are_neither_lost_nor_made(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    places = InFlight(4, clock)
    waiting: list[float] = []
    for step, seconds in steps:
        clock.now += seconds
        if step == "enter":
            sent = places.enter()
            if sent is not None:
                waiting.append(sent)
        elif waiting:
            sent = waiting.pop(0)
            if step in {"answered", "abandoned"}:
                getattr(places, step)("m", sent)
            else:
                getattr(places, step)()
        assert len(waiting) + places.abandoned_count <= 4
    clock.now += 60
    if not waiting:
        waiting.append(_enter(places))
    for _ in waiting:
        places.broken()
    assert [places.enter() is not None for _ in range(5)] == [True] * 4 + [False]
