"""Commands that the offline room answers: the arguments are handed to ``python -m training`` as they came."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

import click

PASSED_ON: dict[str, object] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""Of commands whose options are another process's."""


def hand_over(command: str, arguments: tuple[str, ...]) -> None:
    """Replaces this process by training's; its exit code and its answer to Ctrl-C are then ours."""
    missing = [name for name in ("pyarrow", "tensorflow") if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"`twostage {command}` needs the training extra, {' and '.join(missing)} not found: "
            "pip install 'twostage[training]'"
        )
    _replace_process("training", (command, *arguments))


def _replace_process(module: str, arguments: tuple[str, ...]) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module


@click.command(context_settings=PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def data(arguments: tuple[str, ...]) -> None:
    """Get, make or check a data set."""
    hand_over("data", arguments)


@click.command(context_settings=PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train, index, evaluate and publish one generation."""
    hand_over("train", arguments)


@click.command(context_settings=PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def index(arguments: tuple[str, ...]) -> None:
    """Measure and choose the index of a generation, or put it into Milvus."""
    if arguments[:1] in (("push",), ("check",)):
        _replace_process("retrieval_service.milvus", arguments)
    hand_over("index", arguments)


@click.command(context_settings=PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def evaluate(arguments: tuple[str, ...]) -> None:
    """Measure a generation offline, stage by stage."""
    hand_over("evaluate", arguments)


@click.command(context_settings=PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def replay(arguments: tuple[str, ...]) -> None:
    """Make logged answers once more and compare them."""
    hand_over("replay", arguments)
