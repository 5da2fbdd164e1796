from __future__ import annotations

import pytest

from gateway.users.short_circuit import ShortCircuit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_while_all_is_well_everybody_asks(clock: Clock) -> None:
    circuit = ShortCircuit(0.5, clock=clock)
    assert all(circuit.may_ask() for _ in range(3))
    circuit.succeeded()
    assert circuit.may_ask()


def test_after_a_failure_nobody_asks_for_a_rest_and_then_one(clock: Clock) -> None:
    circuit = ShortCircuit(0.5, clock=clock)
    circuit.failed()
    clock.now += 0.49
    assert not circuit.may_ask()
    clock.now += 0.02
    assert [circuit.may_ask() for _ in range(3)] == [True, False, False]


def test_one_success_lets_everybody_ask_again_and_one_more_failure_nobody(clock: Clock) -> None:
    circuit = ShortCircuit(0.5, clock=clock)
    circuit.failed()
    clock.now += 1
    assert circuit.may_ask()
    circuit.failed()
    assert not circuit.may_ask()
    clock.now += 1
    assert circuit.may_ask()
    circuit.succeeded()
    assert all(circuit.may_ask() for _ in range(3))


def test_a_trial_that_never_ends_is_followed_by_another(clock: Clock) -> None:
    circuit = ShortCircuit(0.5, clock=clock)
    circuit.failed()
    clock.now += 1
    assert circuit.may_ask()
    assert not circuit.may_ask()
    clock.now += 0.5
    assert circuit.may_ask()
