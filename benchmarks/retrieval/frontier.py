"""Recall over time against other libraries, in one run: ``python -m benchmarks.retrieval.frontier --vectors DIR``.

Same machine, same vectors, same queries, one thread, one process for each library. The libraries take turns, round by
round, for the machine's speed drifts; afterwards the fastest point of each that reaches the recall meets the others'
in many short turns, and what is said of one against another is the median over those rounds.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.retrieval.contest import Point, fastest, ratio
from benchmarks.retrieval.peers import PEERS
from benchmarks.retrieval.plot import plot_frontiers
from benchmarks.retrieval.saved_index import ensure_built
from benchmarks.retrieval.told_process import SearcherProcess
from benchmarks.retrieval.vector_folder import VectorFolder
from retrieval_service.engine.index.families import USUAL
from training.index_plot import undominated

OURS = "Twostage"
_CONTEST_SEARCHES = 100
_AIMS = {"ScaNN": 1.0, "hnswlib": 0.5, "usearch": 0.5}
_SHOWN_BELOW = 0.05
"""How far below the recall asked for a point may lie and still be shown in the table; all are in the JSON."""


@click.command()
@click.option("--vectors", "vectors_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--peers-python", type=click.Path(path_type=Path, exists=True), help="Has scann, hnswlib and usearch.")
@click.option("--peer", "peers", multiple=True, default=tuple(PEERS), show_default=True, type=click.Choice(list(PEERS)))
@click.option("--index", type=click.Path(path_type=Path), help="Keep or find our index here.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep or find the other libraries' indexes here.")
@click.option("--family", "families", multiple=True, default=USUAL, show_default=True, help="What we try.")
@click.option("--at", default=500, show_default=True, help="How many nearest items are searched for.")
@click.option("--recall", "target", default=0.95, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Of all points.")
@click.option("--searches", default=300, show_default=True, help="Of each point in each round.")
@click.option("--contest-rounds", default=21, show_default=True, help="Of the fastest points.")
@click.option("--out", type=click.Path(path_type=Path), help="Write tables, JSON and the plot to this folder.")
def main(
    vectors_path: Path,
    peers_python: Path | None,
    peers: tuple[str, ...],
    index: Path | None,
    cache: Path | None,
    families: tuple[str, ...],
    at: int,
    target: float,
    rounds: int,
    searches: int,
    contest_rounds: int,
    out: Path | None,
) -> None:
    """Measures our index and others on the vectors of a folder."""
    console = Console(width=max(120, Console().width))
    folder = VectorFolder.open(vectors_path)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        index = index or work / "index"
        ensure_built(vectors_path, index, at=at, recall_target=target, families=families)
        console.print("exact neighbours of the held-out queries")
        folder.write_task(work / "task", at)
        shared = ("--vectors", str(vectors_path), "--task", str(work / "task"), "--at", str(at))
        own = (*shared, "--index", str(index), "--whole-frontier")
        searchers = [stack.enter_context(SearcherProcess(OURS, "benchmarks.retrieval.ours", own))]
        for name in peers:
            console.print(f"{name}: building, or loading what was built")
            theirs = (name, *shared, "--cache", str(cache or work / "cache"))
            searcher = SearcherProcess(name, "benchmarks.retrieval.peers", theirs, peers_python)
            searchers.append(stack.enter_context(searcher))
            if searcher.build_seconds is not None:
                console.print(f"{name}: built in {searcher.build_seconds:.0f} s")
        points = _measure(searchers, rounds, searches)
        chosen = _contest(points, target, contest_rounds)
        table, contest = _frontier_table(points, target, at), _contest_table(chosen, at)
        verdicts = _verdicts(chosen, target, set(peers))
        console.print(table, contest, *verdicts, sep="\n")
        if out:
            machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
            _write(out, folder, points, chosen, (target, at), machine, (table, contest), verdicts)
            console.print(f"written to {out}")


def _measure(searchers: Sequence[SearcherProcess], rounds: int, searches: int) -> dict[str, list[Point]]:
    points = {one.name: [Point(one, number) for number in range(len(one.points))] for one in searchers}
    for point in track([point for own in points.values() for point in own], "recall", transient=True):
        point.measure_recall()
    turns = []
    for number in range(rounds):
        # Each round begins with another library.
        order = [*searchers[number % len(searchers) :], *searchers[: number % len(searchers)]]
        turns += [(number, point) for one in order for point in points[one.name]]
    for number, point in track(turns, "time", transient=True):
        point.measure_time(searches, number * searches, point.round_ms)
    return points


def _contest(points: dict[str, list[Point]], target: float, rounds: int) -> list[Point]:
    """The fastest points that reach the recall, and what our index was published with, meet in short turns."""
    published = points[OURS][0]
    contestants = [fastest(own, target) for own in points.values()]
    chosen = [point for point in contestants if point is not None]
    if published not in chosen:
        chosen.insert(0, published)
    for number in track(range(rounds), "the fastest of each", transient=True):
        turn = number % len(chosen)
        for point in (*chosen[turn:], *chosen[:turn]):
            point.measure_time(_CONTEST_SEARCHES, number * _CONTEST_SEARCHES, point.contest_ms)
    return chosen


def _frontier_table(points: dict[str, list[Point]], target: float, at: int) -> Table:
    table = Table(
        "library", "parameters", f"recall@{at}", "median, ms", title="points that no other of a library beats"
    )
    for own in points.values():
        shown = [point for point in undominated(own) if point.recall >= target - _SHOWN_BELOW]
        for point in shown or undominated(own)[-1:]:
            table.add_row(point.library, point.parameters, f"{point.recall:.4f}", f"{point.median_ms:.3f}")
    return table


def _contest_table(chosen: Sequence[Point], at: int) -> Table:
    times = "times ScaNN's"
    table = Table("library", "parameters", f"recall@{at}", "median, ms", times, "cores", title="the fastest of each")
    scann = next((point for point in chosen if point.library == "ScaNN"), None)
    for place, point in enumerate(chosen):
        twice = sum(other.library == point.library for other in chosen) > 1
        name = f"{point.library}, as published" if twice and place == 0 else point.library
        against = "" if scann is None else f"{ratio(point, scann):.2f}"
        milliseconds = f"{sorted(point.contest_ms)[len(point.contest_ms) // 2]:.3f}"
        table.add_row(name, point.parameters, f"{point.recall:.4f}", milliseconds, against, f"{point.cores:.2f}")
    return table


def _verdicts(chosen: Sequence[Point], target: float, peers: set[str]) -> list[str]:
    """What our index was published with, which is what people get, against each library."""
    ours = chosen[0]
    lines = []
    if ours.recall < target:
        lines.append(f"missed: recall {ours.recall:.4f} as published, asked for {target}")
    for point in chosen:
        if point.library in _AIMS:
            times, aim = ratio(ours, point), _AIMS[point.library]
            verdict = "reached" if times <= aim else "missed"
            lines.append(f"{verdict}: {times:.2f} times {point.library}'s time, at most {aim:g} aimed at")
    absent = peers - {point.library for point in chosen}
    return lines + [f"{name} does not reach the recall at any point tried" for name in sorted(absent)]


def _write(
    out: Path,
    folder: VectorFolder,
    points: dict[str, list[Point]],
    chosen: Sequence[Point],
    asked: tuple[float, int],
    machine: str,
    tables: Sequence[Table],
    verdicts: Sequence[str],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    target, at = asked
    item_count, dimension = folder.vectors.shape
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "item_count": item_count,
        "dimension": dimension,
        "query_count": len(folder.held_out_queries),
        "at": at,
        "recall_target": target,
        "versions": {name: own[0].searcher.version for name, own in points.items()},
        "points": [point.as_json() for own in points.values() for point in own],
        "contest": [point.as_json() for point in chosen],
        "verdicts": list(verdicts),
    }
    (out / "frontier.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    title = f"{item_count:,} x {dimension}, {at} nearest by inner product"
    plot_frontiers(points, chosen, target=target, at=at, title=title, path=out / "frontier.png")
    with (out / "frontier.md").open("w", encoding="utf-8") as file:
        for table in tables:
            columns = [list(column.cells) for column in table.columns]
            file.write(f"{table.title}\n\n| {' | '.join(str(column.header) for column in table.columns)} |\n")
            file.write(f"{'|---' * len(columns)}|\n")
            file.writelines(f"| {' | '.join(map(str, row))} |\n" for row in zip(*columns, strict=True))
            file.write("\n")


if __name__ == "__main__":
    main()
