"""``twostage index``: the index of a generation, measured and chosen anew."""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from retrieval_service.engine.index.builder import IndexAim, build_index
from retrieval_service.engine.index.families import index_specs
from training.commands.options import seed_option
from training.index_plot import plot_frontier, undominated
from training.reindex import publish_index
from twostage.bundle.errors import BundleError
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import FrontierEntry, IndexEntry
from twostage.bundle.open_store import open_store
from twostage.options import store_option
from twostage.terminal import make_console

_FAMILIES = tuple(index_specs(2))


@click.group()
def index() -> None:
    """Measure and choose the index of a generation; put it into Milvus (`push`, `check`)."""


@index.command()
@store_option
@click.option("--generation", type=click.IntRange(min=1), help="Which; the store's current one by default.")
@click.option("--recall", "recall_target", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True)
@click.option("--at", type=click.IntRange(1, 2000), default=500, show_default=True, help="How many items are wanted.")
@click.option("--bytes-per-item", type=click.FloatRange(min=0, min_open=True), help="What the index may hold of each.")
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(_FAMILIES),
    help="What is tried, several times; by default what is fastest at a million items.",
)
@click.option("--shards", "shard_count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False), help="Draw the frontier (PNG).")
@click.option("--publish", is_flag=True, help="Publish the next generation: this one with the index that was chosen.")
@seed_option
def tune(
    store_path: Path | str,
    generation: int | None,
    recall_target: float,
    at: int,
    bytes_per_item: float | None,
    families: tuple[str, ...],
    shard_count: int,
    plot_path: Path | None,
    publish: bool,
    seed: int,
) -> None:
    """Build indexes, measure recall against time on user vectors, choose one.

    Measured on the user vectors that the generation was tuned with when it was trained.
    """
    try:
        store = open_store(store_path)
        number = store.current() if generation is None else generation
        # What is published again is linked from this one, so all of it is wanted then.
        store.fetch(number, ("",) if publish else ("items/", "retrieval/", "golden/"), models=publish)
        opened = store.open(number, verify=("retrieval/", "golden/"))
        tower = opened.manifest.tower
        vectors = opened.array(tower.item_vectors, shape=(opened.item_count, tower.dimension))
        queries = _queries(opened)
    except BundleError as error:
        raise click.ClickException(str(error)) from error
    aim = IndexAim(recall_target=recall_target, at=at, bytes_per_item=bytes_per_item, shard_count=shard_count)
    if families:
        # Somebody who names families wants them measured, however small the catalogue is.
        aim = IndexAim(**{**vars(aim), "families": families, "exact_limit": 0})
    folder = str(Path(tower.item_vectors).parent)
    started = time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=1.0)
        try:
            built = build_index(
                vectors,
                queries,
                aim,
                seed=seed,
                folder=folder,
                progress=lambda what, part: progress.update(task, description=what, completed=part),
            )
        except ValueError as error:
            raise click.ClickException(str(error)) from error
    make_console().print(frontier_table(built.entry))
    click.echo(describe(built.entry, opened.item_count, time.monotonic() - started))
    if plot_path is not None:
        plot_frontier(built.entry, plot_path)
        click.echo(f"drawn in {plot_path}")
    if publish:
        try:
            store.fetch_histories(number)
            published = publish_index(store, opened, built, queries)
            store.send_histories(published.generation)
        except BundleError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"generation {published.generation} is current in {store_path}: {opened.number} with this index")


def _queries(generation: Generation) -> np.ndarray:
    """float32[Q, D], the user vectors that the generation's index was measured with."""
    tower = generation.manifest.tower
    if tower.index.queries is None:
        raise click.ClickException(
            f"generation {generation.number} holds no user vectors to measure with (it was trained by an earlier "
            "version): train it anew"
        )
    return np.array(generation.array(tower.index.queries, shape=(None, tower.dimension)))


def frontier_table(entry: IndexEntry) -> Table:
    """The points that none of their index's others beats in both recall and time."""
    table = Table("index", "lists probed", "pool", "ef", f"recall@{entry.recall_at}", "median ms", "bytes/item", "")
    for factory in dict.fromkeys(point.factory for point in entry.frontier):
        points = [point for point in entry.frontier if point.factory == factory]
        shown = undominated(points)
        shown += [point for point in points if point.chosen and point not in shown]
        for point in sorted(shown, key=lambda one: one.median_ms):
            table.add_row(*_row(point))
    return table


def _row(point: FrontierEntry) -> tuple[str, ...]:
    return (
        point.factory,
        "" if point.probe_count is None else str(point.probe_count),
        f"{point.pool_factor:g}",
        "" if point.ef_search is None else str(point.ef_search),
        f"{point.recall:.4f}",
        f"{point.median_ms:.3f}",
        f"{point.bytes_per_item:g}",
        "chosen" if point.chosen else "",
    )


def describe(entry: IndexEntry, item_count: int, seconds: float) -> str:
    """What was chosen and whether it reaches the target, in a line or two."""
    line = (
        f"{entry.factory} over {item_count} items in {seconds:.0f} s: recall@{entry.recall_at} {entry.recall:.4f}, "
        f"{entry.median_ms:.3f} ms"
    )
    if entry.recall is not None and entry.recall_target is not None and entry.recall < entry.recall_target:
        line += f"\nno point reaches the recall of {entry.recall_target:g}: the best is taken"
    return line
