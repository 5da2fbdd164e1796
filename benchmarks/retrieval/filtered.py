"""Search under filters against search without, in one run: ``python -m benchmarks.retrieval.filtered``.

Recall is held against every inner product in NumPy. The ways of asking take turns search by search, each after an
untimed search of its own kind, so that none has the better minutes and none pays for another's memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.retrieval.filter_cases import FilterCase, FilterCatalogue
from benchmarks.retrieval.saved_index import read_entry
from benchmarks.retrieval.vector_folder import VectorFolder
from retrieval_service.engine.index.faiss_index import FaissIndex
from twostage.bundle.attributes import Attributes
from twostage.bundle.filters import Filter
from twostage.bundle.row_set import RowSet
from twostage.rpc.environment import set_serving_defaults

RECALL_AIM = 0.95
TIME_AIM = 2.0
_BLOCK_ROWS = 131_072


@dataclass(frozen=True)
class Figures:
    """What one filter does to a search.

    Args:
        name: The filter.
        recall: Mean share of the exact nearest items among those that pass.
        least_recall: Of any query.
        wrong_count: Searches that returned another number than asked for, or than pass, or items that do not pass.
        ready_ms: Median search with the filter's set at hand.
        cached_ms: The same with the filter evaluated out of the cache of recent filters.
        cold_ms: The same with the filter evaluated anew.
        unfiltered_ms: Without a filter, in turns with the above.
    """

    name: str
    recall: float
    least_recall: float
    wrong_count: int
    ready_ms: float
    cached_ms: float
    cold_ms: float
    unfiltered_ms: float


@click.command()
@click.option("--vectors", "vectors_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--index", "index_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--queries", "query_count", default=100, show_default=True, help="Held-out ones, for each filter.")
@click.option("--repeat", default=3, show_default=True, help="Times that each query is timed.")
@click.option("--at", default=500, show_default=True)
@click.option("--seed", default=5, show_default=True, help="Of the attributes.")
@click.option("--out", type=click.Path(path_type=Path), help="Write JSON and Markdown to this folder.")
def main(
    vectors_path: Path, index_path: Path, query_count: int, repeat: int, at: int, seed: int, out: Path | None
) -> None:
    """Measures a saved index (`benchmarks.retrieval.saved_index`) under filters."""
    set_serving_defaults()
    console = Console(width=max(120, Console().width))
    folder = VectorFolder.open(vectors_path)
    vectors, queries = folder.vectors, folder.held_out_queries[:query_count]
    index = FaissIndex.open(index_path, read_entry(index_path), vectors)
    console.print("attributes")
    catalogue = FilterCatalogue(vectors, queries, vectors_path / "data" / "items.parquet", seed)
    console.print("every inner product")
    products = _products(vectors, queries)
    with tempfile.TemporaryDirectory() as name:
        kinds = catalogue.write(Path(name))
        cold = Attributes.open(Path(name), kinds, len(vectors), cache_bytes=0)
        cached = Attributes.open(Path(name), kinds, len(vectors))
        figures = [
            _measure(case, index, (cold, cached), queries, products, at, repeat)
            for case in track(list(catalogue.cases()), "filters", transient=True)
        ]
    table = _table(figures, at)
    console.print(table)
    console.print(*_verdicts(figures), sep="\n")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        document = {"item_count": len(vectors), "at": at, "query_count": len(queries)}
        document_text = json.dumps({**document, "filters": [asdict(one) for one in figures]}, indent=1)
        (out / "filtered.json").write_text(document_text + "\n", encoding="utf-8")
        columns = [list(column.cells) for column in table.columns]
        lines = [[str(column.header) for column in table.columns], ["---"] * len(columns)]
        lines += [list(map(str, row)) for row in zip(*columns, strict=True)]
        (out / "filtered.md").write_text("".join(f"| {' | '.join(row)} |\n" for row in lines), encoding="utf-8")


def _products(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[Q, N], the inner products."""
    products = np.empty((len(queries), len(vectors)), np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        products[:, start : start + _BLOCK_ROWS] = queries @ vectors[start : start + _BLOCK_ROWS].T
    return products


def _measure(
    case: FilterCase,
    index: FaissIndex,
    attributes: tuple[Attributes, Attributes],
    queries: NDArray[np.float32],
    products: NDArray[np.float32],
    at: int,
    repeat: int,
) -> Figures:
    cold, cached = attributes
    # Filters repeat from query to query, sets are made once.
    sets = {asked: cold.rows(asked) for asked in set(case.filters)}
    found = np.empty(len(queries))
    wrong = 0
    for number, query in enumerate(queries):
        mask = case.masks(number)
        passing = np.flatnonzero(mask)
        wanted = min(at, len(passing))
        own = products[number, passing]
        nearest = passing[np.argpartition(-own, wanted - 1)[:wanted]] if wanted else passing
        rows, _ = index.search(query, at, sets[case.filters[number]])
        wrong += len(rows) != wanted or len(np.unique(rows)) != wanted or not mask[rows].all()
        found[number] = np.isin(nearest, rows).mean() if wanted else 1.0

    def timed(select: Callable[[Filter], RowSet | None]) -> Callable[[int], object]:
        return lambda number: index.search(queries[number], at, select(case.filters[number]))

    ways = [timed(lambda _: None), timed(sets.__getitem__), timed(cached.rows), timed(cold.rows)]
    medians = _median_ms(ways, len(queries), repeat)
    return Figures(
        case.name,
        float(found.mean()),
        float(found.min()),
        wrong,
        unfiltered_ms=medians[0],
        ready_ms=medians[1],
        cached_ms=medians[2],
        cold_ms=medians[3],
    )


def _median_ms(ways: Sequence[Callable[[int], object]], query_count: int, repeat: int) -> list[float]:
    seconds = np.empty((repeat * query_count, len(ways)))
    apart = max(1, query_count // len(ways))
    for turn in range(len(seconds)):
        for way, search in enumerate(ways):
            # Each way is at another query, or the second would find in the caches what the first one read.
            number = (turn + way * apart) % query_count
            search((number + apart // 2) % query_count)
            started = time.perf_counter()
            search(number)
            seconds[turn, way] = time.perf_counter() - started
    return [float(median) * 1e3 for median in np.median(seconds, axis=0)]


def _table(figures: Sequence[Figures], at: int) -> Table:
    table = Table("filter", f"recall@{at}", "least", "wrong", "unfiltered, ms", "set at hand", "cached", "evaluated")
    for one in figures:
        times = [
            f"{milliseconds:.3f} ({milliseconds / one.unfiltered_ms:.2f} x)"
            for milliseconds in (one.ready_ms, one.cached_ms, one.cold_ms)
        ]
        recalls = (f"{one.recall:.4f}", f"{one.least_recall:.3f}", f"{one.wrong_count}")
        table.add_row(one.name, *recalls, f"{one.unfiltered_ms:.3f}", *times)
    return table


def _verdicts(figures: Sequence[Figures]) -> list[str]:
    lines = []
    for one in figures:
        missed = []
        if one.recall < RECALL_AIM:
            missed.append(f"recall {one.recall:.4f} below {RECALL_AIM}")
        if one.wrong_count:
            missed.append(f"{one.wrong_count} answers of another number or with items that do not pass")
        for what, milliseconds in (
            ("set at hand", one.ready_ms),
            ("cached", one.cached_ms),
            ("evaluated", one.cold_ms),
        ):
            if milliseconds > TIME_AIM * one.unfiltered_ms:
                missed.append(f"{what}: {milliseconds / one.unfiltered_ms:.2f} times the unfiltered time")
        if missed:
            lines.append(f"missed under {one.name}: {'; '.join(missed)}")
    return lines or [f"reached under every filter: recall {RECALL_AIM}, exactly as many, {TIME_AIM:g} times the time"]


if __name__ == "__main__":
    main()
