"""Options of numbers refuse what is no number to reckon with."""

from __future__ import annotations

import pytest
from click import BadParameter

from twostage.commands.recommend import recommend
from twostage.commands.up import up
from twostage.finite_numbers import FiniteFloat, FiniteRange


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("kind", [FiniteFloat(), FiniteRange(min=-1e9), FiniteRange()])
def test_not_a_number_and_infinity_are_refused(kind: FiniteFloat | FiniteRange, text: str) -> None:
    with pytest.raises(BadParameter):
        kind.convert(text, None, None)


def test_numbers_within_bounds_pass() -> None:
    assert FiniteFloat().convert("-2.5", None, None) == -2.5
    assert FiniteRange(min=0, min_open=True).convert("1", None, None) == 1.0
    with pytest.raises(BadParameter, match="not in the range"):
        FiniteRange(min=0, min_open=True).convert("0", None, None)


def test_the_commands_options_are_such_numbers() -> None:
    kinds = {
        parameter.name: parameter.type for command in (recommend, up) for parameter in command.params if parameter.name
    }
    assert isinstance(kinds["timeout_ms"], FiniteRange)
    assert isinstance(kinds["wait_seconds"], FiniteRange)
    assert isinstance(kinds["diversity"], FiniteFloat)
