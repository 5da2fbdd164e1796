"""``twostage experiments``: files of experiments, and what they have shown."""

from __future__ import annotations

from pathlib import Path

import click

from twostage.commands.offline import PASSED_ON, hand_over
from twostage.experiments.errors import ExperimentsInvalid
from twostage.experiments.file import read_experiments
from twostage.experiments.tables import show_experiments
from twostage.terminal import make_console


@click.group()
def experiments() -> None:
    """Check a file of experiments; report what they have shown."""


@experiments.command("check")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path, exists=True),
    help="The impression log's folder, to compare its arms with the weights; needs the training extra.",
)
def check(path: Path, log_path: Path | None) -> None:
    """Check FILE and show who gets what."""
    if log_path is not None:
        hand_over("experiments", ("check", str(path), "--log", str(log_path)))
        return
    try:
        assignment = read_experiments(path)
    except ExperimentsInvalid as error:
        raise click.ClickException("\n".join(f"{path.name}: {line}" for line in error.complaints)) from error
    show_experiments(assignment, make_console())


@experiments.command("report", context_settings=PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def report(arguments: tuple[str, ...]) -> None:
    """Rates per arm and what exploration says, with intervals, from an impression log."""
    hand_over("experiments", ("report", *arguments))
