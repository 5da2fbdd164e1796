"""``twostage generations``: what a store holds, whether it is whole, going back, and letting go."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from twostage.bundle.errors import BundleError, GenerationMissing, StoreMissing
from twostage.bundle.open_store import open_store
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.rollback import roll_back
from twostage.bundle.store import Store, byte_count
from twostage.commands.sync import sync
from twostage.commands.transfer_progress import transfer_progress
from twostage.options import store_option
from twostage.terminal import make_console


@click.group()
def generations() -> None:
    """List, verify, roll back and remove a store's generations."""


generations.add_command(sync)


@generations.command("list")
@store_option
def list_generations(store_path: Path | str) -> None:
    """List the generations, the newest first; the current one and the one before it are marked."""
    store = open_store(store_path)
    current, complaint = _pointer(store)
    numbers = store.generations()
    previous = None if current is None else max((number for number in numbers if number < current), default=None)
    table = Table("generation", "made", "items", "data", "index", "recall", "size", "")
    for number in reversed(numbers):
        mark = {current: "current", previous: "previous"}.get(number, "")
        try:
            cells = _describe(store, number)
        except GenerationMissing:
            # Removed since it was listed.
            continue
        except BundleError as error:
            table.add_row(str(number), *[""] * 6, Text(f"{mark} {error}".strip(), "red"))
        else:
            table.add_row(str(number), *cells, mark)
    make_console().print(table)
    for number in _unsent(store):
        click.echo(f"generation {number}: written here but not sent; `twostage generations upload` goes on", err=True)
    if current is not None and current not in numbers:
        complaint = GenerationMissing(current, numbers)
    if complaint is not None:
        raise complaint


@generations.command("verify")
@store_option
@click.argument("numbers", type=int, nargs=-1)
def verify(store_path: Path | str, numbers: tuple[int, ...]) -> None:
    """Compare every file of the generations NUMBERS (all when none is given) with its sum."""
    store = open_store(store_path)
    failures: list[int] = []
    for number in numbers or store.generations() or (store.current(),):
        try:
            with transfer_progress(f"generation {number}") as watch:
                count = store.verify(number, watch=watch)
        except BundleError as error:
            failures.append(number)
            click.echo(f"generation {number}: {error}", err=True)
        else:
            click.echo(f"generation {number}: {count} files as summed")
    if failures:
        raise click.ClickException(f"{len(failures)} generation(s) failed: {', '.join(map(str, failures))}")


@generations.command("rollback")
@store_option
@click.option("--to", type=click.IntRange(min=1), help="The generation.  [default: the newest older one that verifies]")
@click.option(
    "--verify/--no-verify",
    "with_sums",
    default=True,
    show_default=True,
    help="Compare every file of the generation with its sum before it becomes current.",
)
def rollback(store_path: Path | str, to: int | None, with_sums: bool) -> None:
    """Make an older generation the current one; running services follow."""
    store = open_store(store_path)

    def check(number: int) -> None:
        if not with_sums:
            store.manifest(number)
            return
        with transfer_progress(f"generation {number}") as watch:
            store.verify(number, watch=watch)

    done = roll_back(store, to, check=check)
    for number, error in done.skipped.items():
        click.echo(f"generation {number} is skipped: {error}", err=True)
    click.echo(f"generation {done.source} -> {done.target}")


@generations.command("remove")
@store_option
@click.argument("numbers", type=click.IntRange(min=1), nargs=-1)
@click.option("--keep", type=click.IntRange(min=2), help="Remove all but so many of the newest up to the current one.")
def remove(store_path: Path | str, numbers: tuple[int, ...], keep: int | None) -> None:
    """Remove the generations NUMBERS, or all but the newest, for good.

    The current one and the one before it stay whatever is said: services hold both, and rollback goes there.
    """
    if bool(numbers) == (keep is not None):
        raise click.UsageError("NUMBERS or --keep: expected one of them, received " + ("both" if numbers else "none"))
    store = open_store(store_path)
    current, present = store.current(), store.generations()
    held = {current, max((number for number in present if number < current), default=current)}
    if keep is not None:
        numbers = tuple(number for number in present if number < current)[: -(keep - 1)]
    for number in numbers:
        if number not in present:
            raise GenerationMissing(number, present)
        if number in held:
            raise click.ClickException(
                f"generation {number} is the current one or the one before it, which services hold"
            )
    for number in dict.fromkeys(numbers):
        store.remove(number)
        click.echo(f"generation {number}: removed")
    if not numbers:
        click.echo("nothing to remove")


@generations.command("upload")
@store_option
@click.option(
    "--current/--no-current",
    "make_current",
    default=True,
    show_default=True,
    help="Make the newest of them current, unless a newer one is.",
)
def upload(store_path: Path | str, make_current: bool) -> None:
    """Go on with sending what was written on this machine and could not be sent to a remote store."""
    store = open_store(store_path)
    numbers = _unsent(store)
    if not numbers:
        click.echo("nothing to send")
        return
    for number in numbers:
        with transfer_progress(f"generation {number}") as watch:
            store.send(number, watch=watch)
        store.send_histories(number)
        click.echo(f"generation {number}: sent")
    if not make_current:
        return
    current = _pointer(store)[0]
    if current is not None and current > numbers[-1]:
        # Another machine published meanwhile; going back is what rollback is for.
        click.echo(f"generation {current} stays current, which is newer")
        return
    store.set_current(numbers[-1])
    click.echo(f"generation {numbers[-1]} is current")


def _pointer(store: Store) -> tuple[int | None, BundleError | None]:
    """What CURRENT says, or what is wrong with it: the list is wanted all the more then."""
    try:
        return store.pointer(), None
    except BundleError as error:
        if isinstance(error, StoreMissing) and not store.generations():
            raise
        return None, error


def _unsent(store: Store) -> list[int]:
    return store.unsent() if isinstance(store, RemoteStore) else []


def _describe(store: Store, number: int) -> tuple[str, ...]:
    manifest = store.manifest(number)
    index = manifest.tower.index
    return (
        manifest.created_at,
        f"{manifest.item_count:,}",
        manifest.source.name,
        index.factory,
        "" if index.recall is None else f"{index.recall:.3f} at {index.recall_at}",
        f"{byte_count(manifest) / 1e6:.1f} MB",
    )
