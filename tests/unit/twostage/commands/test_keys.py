from __future__ import annotations

from hashlib import sha256

import pytest
import yaml
from click.testing import CliRunner

from twostage.cli import main


def test_a_new_key_is_printed_once_beside_the_lines_for_the_file_with_its_hash() -> None:
    result = CliRunner().invoke(main, ["keys", "new", "shop"])
    assert result.exit_code == 0
    key = result.stdout.removesuffix("\n")
    assert key not in result.stderr
    expected = {"clients": [{"name": "shop", "keys": [{"sha256": sha256(key.encode()).hexdigest()}]}]}
    assert yaml.safe_load(result.stderr) == expected
    assert CliRunner().invoke(main, ["keys", "new", "shop"]).stdout != result.stdout


@pytest.mark.parametrize("name", ["", "a b", "-a", "x" * 129, "a\n"])
def test_a_name_that_the_file_would_refuse_is_refused(name: str) -> None:
    result = CliRunner().invoke(main, ["keys", "new", "--", name])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "NAME: expected 1 to 128 letters" in result.stderr
