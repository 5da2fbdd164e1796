"""Options that several offline commands share."""

from __future__ import annotations

from pathlib import Path

import click

data_option = click.option(
    "--data",
    "data_path",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A data set: a published one by its file names, or our own format (docs/data-format.md).",
)
profile_option = click.option(
    "--profile",
    "profile_name",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: minutes; full: under forty minutes for ten thousand items, with all baselines.",
)
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
