"""Command lines of the ``twostage`` command: words, options and values that it takes, variables that it reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

from tests.contract.kubernetes.dockerfiles import OWN_IMAGES
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import command_line, image_name, program_of
from tests.contract.kubernetes.rendered import Container, Rendered
from training.__main__ import main as offline
from twostage.cli import main

_ROOT = Path(__file__).parents[3]
_FOLDERS = ("twostage", "training", "gateway", "retrieval_service", "ranking_service", "tests/load")
# Shells expand nothing here, so that a word is a word.
_SHELLS = ("sh", "bash", "ash")


def check_commands(rendered: Rendered) -> Iterator[Problem]:
    """Containers of our images that run what is no program of ours, or run it wrongly."""
    for workload in rendered.workloads:
        for container in workload.containers:
            if image_name(container.image) not in OWN_IMAGES or program_of(container) is not None:
                continue
            for message in _command(container):
                yield Problem("command", container.subject, message)


def twostage_arguments(container: Container) -> list[str] | None:
    """What follows ``twostage`` or ``python -m twostage.cli``; None where another program runs."""
    words = command_line(container)
    if words and words[0].rpartition("/")[2] == "twostage":
        return words[1:]
    if len(words) > 2 and words[0].rpartition("/")[2].startswith("python") and words[1:3] == ["-m", "twostage.cli"]:
        return words[3:]
    return None


def _command(container: Container) -> Iterator[str]:
    words = command_line(container)
    arguments = twostage_arguments(container)
    if arguments is None and words[1:2] == ["-c"] and container.initial and not container.is_sidecar:
        # A few lines of Python prepare a folder; that they can be read is all that is known here.
        try:
            ast.parse(words[2])
        except SyntaxError as error:
            yield f"python -c: {error}"
        return
    if arguments is None:
        program = words[0].rpartition("/")[2] if words else ""
        if program == "locust":
            return
        if program in _SHELLS:
            yield f"expected a program, for a shell keeps signals to itself, found {program}"
        elif program.startswith("python") and "-m" in words:
            yield f"there is no program {words[words.index('-m') + 1]}"
        else:
            yield f"expected twostage or one of our services, found {' '.join(words) or 'nothing'}"
        return
    try:
        yield from _ports(container, _parse(arguments, container.environment))
    except click.ClickException as error:
        yield f"twostage {' '.join(arguments)}: {error.format_message()}"
    yield from (
        f"variable {name}: no program of ours reads it"
        for name in container.environment
        if name.startswith("TWOSTAGE_") and name not in known_variables()
    )


def _parse(arguments: list[str], environment: dict[str, str]) -> dict[str, object]:
    """Reads a command line as click does, without looking at files.

    Raises:
        click.ClickException: An unknown command or option, a value that is none of its option's, or one that lacks.
    """
    command: click.Command = main
    context = main.make_context("twostage", [], resilient_parsing=True)
    rest = list(arguments)
    while isinstance(command, click.Group):
        if not rest:
            raise click.UsageError("expected a command")
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
        if command.context_settings.get("ignore_unknown_options"):
            # Its words are handed over to training as they came, whose command of the same name reads them.
            given = offline.get_command(context, name or "")
            assert given is not None
            command, context = given, click.Context(given, info_name=name, parent=context)
    values, leftover, _ = command.make_parser(context).parse_args(rest)
    if leftover:
        raise click.UsageError(f"unexpected {leftover[0]}")
    for parameter in command.params:
        value = values.get(parameter.name or "")
        names = [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar or ())
        if value is None or str(value).startswith("Sentinel"):
            value = next((environment[each] for each in names if each in environment), None)
        if value is None:
            if parameter.required:
                raise click.MissingParameter(ctx=context, param=parameter)
            continue
        looks_at_files = isinstance(parameter.type, click.Path | click.File)
        many = isinstance(value, list | tuple)
        if not looks_at_files and not many and not (isinstance(parameter, click.Option) and parameter.is_flag):
            value = parameter.type.convert(value, parameter, context)
        values[parameter.name or ""] = value
    return values


def _ports(container: Container, values: dict[str, object]) -> Iterator[str]:
    """The ports that a command is told to listen on are those that the container declares."""
    listens = {value for name, value in values.items() if name.endswith("_port") and isinstance(value, int) and value}
    declared = {each["containerPort"] for each in container.ports}
    if listens != declared:
        yield f"ports: expected {sorted(listens)} as the command line says, found {sorted(declared)}"


@cache
def known_variables() -> frozenset[str]:
    """Every name of a variable that stands as a whole text in our programs, settings of services left out."""
    found: set[str] = set()
    for folder in _FOLDERS:
        for file in (_ROOT / folder).rglob("*.py"):
            found.update(re.findall(r'"(TWOSTAGE_[A-Z0-9_]+[A-Z0-9])"', file.read_text(encoding="utf-8")))
    return frozenset(found)
