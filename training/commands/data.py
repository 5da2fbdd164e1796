"""``twostage data``: get, make or validate a data set."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from training.commands.options import log_key_option, log_option
from training.data.check import check as check_dataset
from training.data.errors import DataError
from training.data.fetch import fetch_goodbooks
from training.data.synthesize import synthesize as synthesize_dataset

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group("data")
def data() -> None:
    """Get, make or validate a data set."""


@data.command()
@click.argument("name", type=click.Choice(["goodbooks"]))
@click.option("--out", type=_DIRECTORY, required=True, help="Directory to write to.")
@click.option(
    "--timeout-seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long to wait for an answer, and for each further piece of one.",
)
def fetch(name: str, out: Path, timeout_seconds: float) -> None:
    """Download a published data set, with checksums: goodbooks (CC BY-SA 4.0, some 90 MB)."""
    del name  # there is one
    console = Console()
    try:
        with Progress(console=console) as progress:
            fetch_goodbooks(out, timeout_seconds, progress=progress)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"goodbooks-10k is in {out}, as its author published it (every checksum agrees)")


@data.command()
@click.option("--out", type=_DIRECTORY, required=True, help="Directory to write to.")
@click.option("--items", "item_count", type=click.IntRange(min=1), default=5_000, show_default=True)
@click.option("--users", "user_count", type=click.IntRange(min=1), default=5_000, show_default=True)
@click.option(
    "--interactions", "interaction_count", type=click.IntRange(min=1), help="About how many; 20 per user by default."
)
@click.option("--image-dim", type=click.IntRange(min=0), default=0, show_default=True, help="Size of image embeddings.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def synthesize(
    out: Path, item_count: int, user_count: int, interaction_count: int | None, image_dim: int, seed: int
) -> None:
    """Make a plausible data set of any size: titles, tags, authors, tastes, popularity, time."""
    try:
        with Progress() as progress:
            synthesize_dataset(
                out, item_count, user_count, interaction_count, seed, image_dim=image_dim, progress=progress
            )
    except OSError as error:
        raise click.ClickException(f"cannot write to {out}: {error.strerror or error}") from error
    click.echo(f"{item_count:,} items and what {user_count:,} people did are in {out}")


@data.command()
@click.argument("path", type=_DIRECTORY)
@log_option
@log_key_option
def check(path: Path, log_path: Path | None, log_key_file: Path | None) -> None:
    """Read a data set as training would and print what is in it."""
    console = Console()
    try:
        with console.status(f"reading {path}"):
            table = check_dataset(path, log_path, log_key_file)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    console.print(table)
