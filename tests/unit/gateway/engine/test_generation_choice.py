from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.generation_choice import (
    Held,
    Part,
    by_preference,
    common_generations,
    describe_held,
    first_held,
)

NUMBERS = st.integers(1, 4)
HELD: st.SearchStrategy[Held] = st.none() | st.frozensets(NUMBERS, min_size=1, max_size=3)
PARTS: st.SearchStrategy[list[Part]] = st.lists(st.lists(HELD, max_size=3), min_size=1, max_size=3)


def of(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


@pytest.mark.parametrize(
    ("active", "held", "wanted"),
    [
        (3, [3, 2], (3, 2)),
        # CURRENT was moved back: 3 is held and is not wanted, and what is older comes before it.
        (2, [3, 2], (2, 3)),
        (2, [1, 2, 3, 4], (2, 1, 4, 3)),
        (7, [7], (7,)),
    ],
)
def test_the_active_one_comes_first_then_older_ones_then_those_taken_back(
    active: int, held: list[int], wanted: tuple[int, ...]
) -> None:
    assert by_preference(active, held) == wanted


@pytest.mark.parametrize(
    ("parts", "common"),
    [
        ([[of(2, 1)], [of(2, 1)]], (2, 1)),
        ([[of(1)], [of(2, 1)]], (1,)),
        ([[of(1), of(2)], [of(2, 1)]], (2, 1)),
        ([[of(1)], [of(2)]], ()),
        # Nothing is known: as if everybody held everything.
        ([[None], [None, None]], (2, 1)),
        ([[None], [of(1)]], (1,)),
        # One that is known to lack it weighs more than one of which nothing is known…
        ([[of(1), None], [of(2, 1)]], (1,)),
        # …unless nothing would be left.
        ([[of(3), None], [of(2)]], (2,)),
        # Nobody there is for whoever asks to find out.
        ([[], [of(1)]], (1,)),
        # Every shard must hold it.
        ([[of(2, 1)], [of(1)], [of(2, 1)], [of(2, 1)]], (1,)),
        ([[of(4, 3)], [of(4, 3)]], ()),
    ],
)
def test_what_every_part_can_answer_from_is_common(parts: list[Part], common: tuple[int, ...]) -> None:
    assert common_generations((2, 1), parts) == common


@given(own=st.frozensets(NUMBERS, min_size=1, max_size=2), parts=PARTS, seed=st.integers(0, 3))
def test_whenever_some_generation_is_held_by_all_only_such_ones_are_chosen(
    own: frozenset[int], parts: list[Part], seed: int
) -> None:
    active = sorted(own)[seed % len(own)]
    chosen = common_generations(by_preference(active, own), parts)
    held_by_all = {
        number for number in own if all(any(held is not None and number in held for held in part) for part in parts)
    }
    if held_by_all:
        # Of parts of which nothing is known more may be chosen, never of others.
        for number in chosen:
            assert number in own
            for part in parts:
                known = [held for held in part if held is not None]
                assert any(number in held for held in known) or not known
        assert held_by_all <= set(chosen)
    assert list(chosen) == [number for number in by_preference(active, own) if number in chosen]


@given(own=st.frozensets(NUMBERS, min_size=1, max_size=2), parts=PARTS)
def test_nothing_is_chosen_only_where_a_part_is_known_to_hold_nothing_of_it(
    own: frozenset[int], parts: list[Part]
) -> None:
    if not common_generations(by_preference(max(own), own), parts):
        for number in own:
            assert any(part and all(held is not None and number not in held for held in part) for part in parts)


def test_a_replica_is_asked_for_the_most_wanted_that_it_holds() -> None:
    assert first_held((3, 2), of(2, 3)) == 3
    assert first_held((3, 2), of(2, 1)) == 2
    assert first_held((3, 2), None) == 3
    # What it holds changed since it was chosen: it will say so.
    assert first_held((3, 2), of(1)) == 3


def test_who_holds_what_is_said_in_words() -> None:
    assert describe_held([of(2, 1), of(3, 2)]) == "generations 3, 2, 1"
    assert describe_held([of(4), None]) == "generation 4"
    assert describe_held([None]) == "nothing known"
    assert describe_held([]) == "nothing known"
