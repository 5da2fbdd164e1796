from __future__ import annotations

import pytest
from click.testing import CliRunner

from twostage.commands.recommend import recommend

# Nobody listens there: what is refused before a call says something else.
_NOWHERE = ["--address", "127.0.0.1:1", "--timeout-ms", "300"]
# What Python makes of an argument with the bytes "b", 0xff.
_NO_TEXT = "b\udcff"


@pytest.mark.parametrize("count", ["99999999999", "-2147483649", "2147483648"])
def test_a_count_beyond_32_bits_is_refused_with_its_bounds(count: str) -> None:
    result = CliRunner().invoke(recommend, [*_NOWHERE, "--count", count])
    assert result.exit_code == 2
    assert f"Invalid value for '--count': {count} is not in the range -2147483648<=x<=2147483647." in result.output


@pytest.mark.parametrize("count", ["0", "-3", "201", "2000000000"])
def test_other_counts_are_left_to_the_gateway(count: str) -> None:
    result = CliRunner().invoke(recommend, [*_NOWHERE, "--count", count])
    assert result.exit_code == 1
    assert result.output.startswith("Error: gateway at 127.0.0.1:1: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", _NO_TEXT],
        ["--items", f"a,{_NO_TEXT}"],
        ["--tag", _NO_TEXT],
        ["--exclude", _NO_TEXT],
        ["--attribute", _NO_TEXT],
        ["--any-of", "tags", _NO_TEXT],
        ["--any-of", _NO_TEXT, "a"],
        ["--address", _NO_TEXT],
    ],
)
def test_bytes_that_are_no_text_are_refused_in_one_line_that_names_the_option(arguments: list[str]) -> None:
    result = CliRunner().invoke(recommend, arguments)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {arguments[0]}: expected UTF-8, received b'")
    assert result.output.endswith("b\\xff'\n")
    assert result.output.count("\n") == 1


def test_the_help_says_which_counts_make_sense() -> None:
    output = CliRunner().invoke(recommend, ["--help"]).output
    assert "How many, 1..200." in output
    assert "2147483647" not in output
