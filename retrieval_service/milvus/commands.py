"""``python -m retrieval_service.milvus``: a store's vectors in Milvus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from retrieval_service.engine.index.exact_scan import exact_scan
from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import DEFAULT_PREFIX, Collection
from retrieval_service.milvus.connection import connect, one_line
from retrieval_service.milvus.milvus_index import MilvusIndex, SearchPlan
from retrieval_service.milvus.push import INDEX_KINDS, IndexKind, drop_earlier, push
from twostage.bundle.errors import BundleError
from twostage.bundle.open_store import open_store
from twostage.errors import NotReady, TwostageError
from twostage.options import store_option
from twostage.terminal import make_console

_QUERY_ITEMS = 3


class _OneLine(click.Group):
    """Failures that were foreseen end a command with one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NotReady as error:
            raise click.ClickException(
                one_line(f"{error.why}: {error.detail}" if error.detail else error.why)
            ) from None
        except (BundleError, TwostageError, OSError) as error:
            raise click.ClickException(one_line(error)) from None


def _options(command: Any) -> Any:
    """What both commands are told."""
    for option in (
        click.option("--tower", help="The retrieval tower; the generation's default one.", metavar="NAME"),
        click.option(
            "--prefix",
            default=DEFAULT_PREFIX,
            show_default=True,
            metavar="NAME",
            help="Begins the collection's name: one for each store that shares a Milvus.",
        ),
        click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Which; the store's current one."),
        click.option(
            "--token",
            default="",
            envvar="TWOSTAGE_MILVUS_TOKEN",
            show_envvar=True,
            metavar="TOKEN",
            help="USER:PASSWORD or an API key; others see command lines, so better from the environment.",
        ),
        click.option(
            "--milvus",
            "uri",
            required=True,
            envvar="TWOSTAGE_MILVUS_URI",
            show_envvar=True,
            metavar="URI",
            help="http://HOST:19530, https://HOST, each with /DATABASE if not the default one, or a local FILE.db.",
        ),
        store_option,
    ):
        command = option(command)
    return command


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Item vectors of a store's generations in Milvus."""


@main.command("push")
@_options
@click.option("--index", "kind", type=click.Choice(INDEX_KINDS), default="IVF_FLAT", show_default=True)
@click.option("--replace", is_flag=True, help="Drop this generation's collection first if it is there.")
@click.option("--drop-old", is_flag=True, help="Drop the collections of earlier generations but the newest of them.")
def push_command(
    store_path: Path | str,
    uri: str,
    token: str,
    generation: int | None,
    prefix: str,
    tower: str | None,
    kind: IndexKind,
    replace: bool,
    drop_old: bool,
) -> None:
    """Bring a generation's item vectors into Milvus: insert, index, load, verify.

    What is there already stays, and what was cut short is completed, so a push can be repeated at any time.
    """
    console = make_console(stderr=True)
    address = MilvusAddress.parse(uri, token)
    collection = _collection(store_path, generation, tower, prefix)
    started = time.perf_counter()
    with (
        connect(address) as client,
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as bar,
    ):
        task = bar.add_task("", total=None)

        def show(doing: str, done: int, total: int) -> None:
            bar.update(task, description=doing, completed=done, total=total or None)

        pushed = push(client, address, collection, kind=kind, replace=replace, progress=show)
        dropped = drop_earlier(client, collection) if drop_old else []
    seconds = time.perf_counter() - started
    did = f"{pushed.inserted_count:,} inserted" if pushed.inserted_count else "all there already"
    output = make_console()
    output.print(f"{pushed.collection}: {pushed.item_count:,} vectors, {pushed.kind}, {did}, {seconds:.1f} s")
    for name in dropped:
        output.print(f"{name}: dropped")


@main.command("check")
@_options
@click.option("--at", type=click.IntRange(1, 16_384), default=500, show_default=True, help="How many are searched for.")
@click.option("--queries", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many searches.")
@click.option(
    "--effort", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Multiplies the depth."
)
def check_command(
    store_path: Path | str,
    uri: str,
    token: str,
    generation: int | None,
    prefix: str,
    tower: str | None,
    at: int,
    queries: int,
    effort: float,
) -> None:
    """Verify a generation's collection and measure its recall and its time.

    Searches are for means of a few items each, which are harder to find neighbours of than items themselves.
    """
    collection = _collection(store_path, generation, tower, prefix)
    plan = SearchPlan(timeout_seconds=30, effort=effort)
    index = MilvusIndex.open(MilvusAddress.parse(uri, token), collection, plan=plan)
    try:
        generator = np.random.default_rng(0)
        item_count = len(collection.vectors)
        at = min(at, item_count)
        hits, seconds = 0, []
        for _ in range(queries):
            mean = collection.vectors[generator.integers(0, item_count, _QUERY_ITEMS)].mean(axis=0)
            vector = mean / max(float(np.linalg.norm(mean)), 1e-12)
            started = time.perf_counter()
            found, _ = index.search(vector, at, None)
            seconds.append(time.perf_counter() - started)
            hits += len(np.intersect1d(found, exact_scan(collection.vectors, vector, at, None)[0]))
    finally:
        index.close()
    milliseconds = np.percentile(seconds, [50, 99]) * 1e3
    make_console().print(
        f"{collection.name}: {item_count:,} vectors, {index.kind}, recall {hits / (at * queries):.3f} at {at}, "
        f"median {milliseconds[0]:.2f} ms, 99th percentile {milliseconds[1]:.2f} ms, effort {effort:g}"
    )


def _collection(store_path: Path | str, generation: int | None, tower: str | None, prefix: str) -> Collection:
    if not prefix.isidentifier() or not prefix.isascii() or prefix.startswith("_"):
        raise click.BadParameter(
            f"expected letters, digits and underscores, received {prefix!r}", param_hint="--prefix"
        )
    store = open_store(store_path)
    opened = store.open(generation)
    towers = opened.manifest.towers
    if tower is not None and tower not in towers:
        raise click.BadParameter(f"expected one of {', '.join(towers)}, received {tower!r}", param_hint="--tower")
    named = towers[tower or opened.manifest.default_tower]
    # The sum names the collection, so what is pushed under it must be what was summed.
    return Collection.of(store.open(opened.number, verify=(named.item_vectors,)), tower, prefix)
