"""``twostage generations``: what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from twostage.bundle.errors import BundleError
from twostage.bundle.store import Store
from twostage.options import store_option
from twostage.terminal import make_console


@click.group()
def generations() -> None:
    """List and verify a store's generations."""


@generations.command("list")
@store_option
def list_generations(store_path: Path) -> None:
    """List the generations, the newest first; the current one is marked."""
    store = Store(store_path)
    current = store.current()
    table = Table("generation", "made", "items", "data", "index", "recall", "size", "")
    for number in reversed(store.generations()):
        try:
            manifest = store.open(number).manifest
        except BundleError as error:
            table.add_row(str(number), "", "", "", "", "", "", f"[red]{error}[/red]")
            continue
        index = manifest.tower.index
        byte_count = sum(entry.byte_count for entry in [*manifest.files.values(), *manifest.model_files.values()])
        table.add_row(
            str(number),
            manifest.created_at,
            f"{manifest.item_count:,}",
            manifest.source.name,
            index.factory,
            "" if index.recall is None else f"{index.recall:.3f} at {index.recall_at}",
            f"{byte_count / 1e6:.1f} MB",
            "current" if number == current else "",
        )
    make_console().print(table)


@generations.command("verify")
@store_option
@click.argument("numbers", type=int, nargs=-1)
def verify(store_path: Path, numbers: tuple[int, ...]) -> None:
    """Compare every file of the generations NUMBERS (all when none is given) with its sum."""
    store = Store(store_path)
    failures: list[Any] = []
    for number in numbers or store.generations() or (store.current(),):
        try:
            count = store.verify(number)
        except BundleError as error:
            failures.append(number)
            click.echo(f"generation {number}: {error}", err=True)
        else:
            click.echo(f"generation {number}: {count} files as summed")
    if failures:
        raise click.ClickException(f"{len(failures)} generation(s) failed: {', '.join(map(str, failures))}")
