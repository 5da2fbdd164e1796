"""Ten million items against one million, in one run: ``python -m benchmarks.retrieval.ten_million --vectors DIR10``.

Builds an index of each with the builder that publishing uses, each in a process that does nothing else, then searches
both in turns, each in a process of its own. Memory is what that process holds beside mapped files after it opened and
searched, less what it held before it opened anything.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.retrieval.contest import Point, ratio
from benchmarks.retrieval.saved_index import build_figures, ensure_built
from benchmarks.retrieval.told_process import SearcherProcess
from benchmarks.retrieval.vector_folder import VectorFolder

_GIB = 2**30
_BUILD_GIB = 24.0
_BUILD_MINUTES = 30.0
_RESIDENT_BYTES = 160.0
_TIMES = 3.0


@click.command()
@click.option("--vectors", "many_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--one-million", "fewer_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--indexes", type=click.Path(path_type=Path), help="Keep or find the indexes here, one folder for each.")
@click.option("--family", default="ivf_pq1", show_default=True)
@click.option("--at", default=500, show_default=True)
@click.option("--recall", "target", default=0.9, show_default=True)
@click.option("--rounds", default=15, show_default=True)
@click.option("--searches", default=100, show_default=True, help="Of each index in each round.")
@click.option("--out", type=click.Path(path_type=Path), help="Write JSON to this folder.")
def main(
    many_path: Path,
    fewer_path: Path,
    indexes: Path | None,
    family: str,
    at: int,
    target: float,
    rounds: int,
    searches: int,
    out: Path | None,
) -> None:
    """Builds, opens and searches both catalogues."""
    console = Console(width=max(120, Console().width))
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sides = []
        for name, path in (("one million", fewer_path), ("ten million", many_path)):
            index = (indexes or work) / name.replace(" ", "-")
            folder = VectorFolder.open(path)
            console.print(f"{name}: {len(folder.vectors):,} items")
            ensure_built(path, index, at=at, recall_target=target, families=(family,))
            console.print(f"{name}: exact neighbours of the held-out queries")
            folder.write_task(work / f"task {name}", at)
            sides.append((name, path, index, len(folder.vectors)))
        points = []
        for name, path, index, _ in sides:
            arguments = ["--vectors", str(path), "--task", str(work / f"task {name}"), "--at", str(at)]
            process = SearcherProcess(name, "benchmarks.retrieval.ours", [*arguments, "--index", str(index)])
            points.append(Point(stack.enter_context(process), 0))
        for point in points:
            # Every query once, which brings what searches read into memory, too.
            point.measure_recall()
        for number in track(range(rounds), "searching in turns", transient=True):
            for point in points if number % 2 else points[::-1]:
                point.measure_time(searches, number * searches, point.contest_ms)
        figures = [
            {**_figures(point, index, item_count), "times_one_million": ratio(point, points[0])}
            for point, (_, _, index, item_count) in zip(points, sides, strict=True)
        ]
    console.print(_table(figures, at), *_verdicts(figures[1], target), sep="\n")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "ten_million.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _figures(point: Point, index: Path, item_count: int) -> dict[str, Any]:
    memory = point.searcher.ask(do="memory")
    held = None if memory["bytes"] is None else memory["bytes"] - memory["bytes_before"]
    return {
        "catalogue": point.library,
        "item_count": item_count,
        "build": asdict(build_figures(index)),
        "index_file_bytes": sum(file.stat().st_size for file in index.glob("*.faiss")),
        "resident_bytes_per_item": None if held is None else held / item_count,
        "parameters": point.searcher.points[0],
        "recall": point.recall,
        "median_ms": sorted(point.contest_ms)[len(point.contest_ms) // 2],
        "round_ms": point.contest_ms,
    }


def _table(figures: list[dict[str, Any]], at: int) -> Table:
    table = Table("figure", *(f"{one['item_count']:,}" for one in figures), "aim at ten million")
    rows: list[tuple[str, Any, str]] = [
        ("build, minutes", lambda one: f"{one['build']['seconds'] / 60:.1f}", f"<= {_BUILD_MINUTES:g}"),
        (
            "build, most resident, GiB (mapped vectors included)",
            lambda one: f"{one['build']['peak_resident_bytes'] / _GIB:.2f}",
            f"<= {_BUILD_GIB:g}",
        ),
        ("build, most beside mapped, GiB", lambda one: f"{one['build']['peak_anonymous_bytes'] / _GIB:.2f}", ""),
        ("index file, bytes an item", lambda one: f"{one['index_file_bytes'] / one['item_count']:.1f}", ""),
        (
            "resident beside mapped, bytes an item",
            lambda one: (
                "unknown" if one["resident_bytes_per_item"] is None else f"{one['resident_bytes_per_item']:.1f}"
            ),
            f"<= {_RESIDENT_BYTES:g}",
        ),
        ("parameters", lambda one: ", ".join(f"{name} {value:g}" for name, value in one["parameters"].items()), ""),
        (f"recall@{at}", lambda one: f"{one['recall']:.4f}", "as asked for"),
        ("median of single searches, ms", lambda one: f"{one['median_ms']:.3f}", ""),
        ("times one million's", lambda one: f"{one['times_one_million']:.2f}", f"<= {_TIMES:g}"),
    ]
    for name, cell, aim in rows:
        table.add_row(name, *(cell(one) for one in figures), aim)
    return table


def _verdicts(many: dict[str, Any], target: float) -> list[str]:
    missed = []
    if many["build"]["seconds"] > _BUILD_MINUTES * 60:
        missed.append("the build's time")
    if many["build"]["peak_resident_bytes"] > _BUILD_GIB * _GIB:
        missed.append("the build's memory")
    if many["resident_bytes_per_item"] is None or many["resident_bytes_per_item"] > _RESIDENT_BYTES:
        missed.append("memory while serving")
    if many["recall"] < target:
        missed.append(f"recall {target:g}")
    if many["times_one_million"] > _TIMES:
        missed.append("the search time")
    return [f"missed: {', '.join(missed)}" if missed else "all aims reached"]


if __name__ == "__main__":
    main()
