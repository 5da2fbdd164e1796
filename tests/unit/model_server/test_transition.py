"""The order of loading and unloading, played through to its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_server.transition import HeldVersion, Phase, Step, Transition


def _held(*versions: tuple[int, bool, Phase]) -> list[HeldVersion]:
    return [HeldVersion(*one) for one in versions]


def test_availability_loads_the_new_version_first() -> None:
    held = _held((1, False, Phase.READY), (2, True, Phase.NEW))
    assert Transition.AVAILABILITY.next_step(held) == Step(loads=True, number=2)


def test_resources_unload_the_old_version_first_and_wait_until_it_is_gone() -> None:
    decide = Transition.RESOURCES.next_step
    assert decide(_held((1, False, Phase.READY), (2, True, Phase.NEW))) == Step(loads=False, number=1)
    assert decide(_held((1, False, Phase.BUSY), (2, True, Phase.NEW))) is None
    assert decide(_held((1, False, Phase.GONE), (2, True, Phase.NEW))) == Step(loads=True, number=2)


def test_a_failed_new_version_keeps_the_old_one() -> None:
    held = _held((1, False, Phase.READY), (2, True, Phase.GONE))
    assert Transition.AVAILABILITY.next_step(held) is None


_STATES = st.lists(
    st.tuples(st.integers(1, 9), st.booleans(), st.sampled_from([Phase.NEW, Phase.READY, Phase.GONE])),
    unique_by=lambda one: one[0],
    max_size=6,
)


def _play(transition: Transition, held: list[HeldVersion]) -> tuple[list[HeldVersion], list[int]]:
    """Carries out steps, each to its end, until there are none; also gives how many were ready after each."""
    ready_counts = []
    for _ in range(50):
        ready_counts.append(sum(one.phase is Phase.READY for one in held))
        step = transition.next_step(held)
        if step is None:
            return held, ready_counts
        phase = Phase.READY if step.loads else Phase.GONE
        held = [HeldVersion(one.number, one.aspired, phase) if one.number == step.number else one for one in held]
    raise AssertionError("it never comes to rest")


@given(_STATES, st.sampled_from(list(Transition)))
def test_in_the_end_what_is_aspired_is_ready_and_nothing_else(
    states: list[tuple[int, bool, Phase]], transition: Transition
) -> None:
    # A failed version that is aspired answers nothing; what is old stays beside it, in availability's order.
    states = [one for one in states if not (one[1] and one[2] is Phase.GONE)]
    held, _ = _play(transition, _held(*states))
    assert {one.number for one in held if one.phase is Phase.READY} == {one[0] for one in states if one[1]}


@given(_STATES)
def test_availability_never_leaves_a_model_without_an_answer(states: list[tuple[int, bool, Phase]]) -> None:
    held = _held(*states)
    _, ready_counts = _play(Transition.AVAILABILITY, held)
    if ready_counts[0] and any(one.aspired for one in held):
        assert min(ready_counts) >= 1


@given(_STATES)
def test_resources_never_hold_more_than_they_must(states: list[tuple[int, bool, Phase]]) -> None:
    held = _held(*states)
    _, ready_counts = _play(Transition.RESOURCES, held)
    assert max(ready_counts) <= max(ready_counts[0], sum(one.aspired for one in held))
