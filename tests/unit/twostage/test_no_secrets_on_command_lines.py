"""A command line is seen by everybody on the machine and kept by shells: secrets come from files or the environment."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from twostage.cli import main

SECRET = re.compile(r"key|token|secret|password|passphrase|credential", re.IGNORECASE)
SERVICES = ("gateway", "retrieval_service", "ranking_service")


def commands(command: click.Command, context: click.Context, path: str = "") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, context, f"{path} {name}")


def test_options_of_the_command_that_speak_of_secrets_take_files() -> None:
    context = click.Context(main)
    seen = 0
    for path, command in commands(main, context):
        for option in command.params:
            if isinstance(option, click.Option) and SECRET.search(option.name or ""):
                assert isinstance(option.type, click.Path), f"twostage{path} {option.opts}"
                seen += 1
    assert seen >= 4


@pytest.mark.parametrize("module", SERVICES)
def test_flags_of_services_that_speak_of_secrets_take_files(module: str) -> None:
    shown = subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True, text=True).stdout
    flags = dict(re.findall(r"^  (--[a-z-]+)(?:[ ,]+([A-Z|]+))?", shown, re.MULTILINE))
    assert flags["--tls-key"] == "FILE"
    for flag, value in flags.items():
        assert not SECRET.search(flag) or value == "FILE" or flag.endswith("-unkeyed"), flag
