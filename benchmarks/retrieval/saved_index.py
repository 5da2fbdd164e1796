"""Builds an index of a folder's vectors and keeps it: ``python -m benchmarks.retrieval.saved_index``.

The figures of a build are those of a process that does nothing else.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.retrieval.searcher import anonymous_bytes
from benchmarks.retrieval.vector_folder import VectorFolder
from retrieval_service.engine.index.builder import IndexAim, build_index, write_index
from retrieval_service.engine.index.families import USUAL
from twostage.bundle.manifest import IndexEntry

_ENTRY_FILE = "entry.json"
_FIGURES_FILE = "build.json"
_SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class BuildFigures:
    """What a build took.

    Args:
        seconds: From the first read to the last write.
        peak_resident_bytes: The most that was resident, mapped files included.
        peak_anonymous_bytes: The most beside mapped files; 0 where /proc does not tell.
    """

    seconds: float
    peak_resident_bytes: int
    peak_anonymous_bytes: int


def read_entry(index: Path) -> IndexEntry:
    """What the manifest would say of a saved index.

    Raises:
        click.ClickException: The folder holds none.
    """
    try:
        return IndexEntry.model_validate_json((index / _ENTRY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise click.ClickException(f"{index / _ENTRY_FILE}: expected an index's entry, {error}") from None


def ensure_built(vectors: Path, index: Path, *, at: int, recall_target: float, families: tuple[str, ...]) -> IndexEntry:
    """Builds an index in a process of its own unless the folder holds one.

    Args:
        vectors: The folder of vectors.
        index: Where it is kept.
        at: How many nearest items are asked for.
        recall_target: As in :class:`IndexAim`.
        families: As in :class:`IndexAim`.

    Raises:
        click.ClickException: The build failed, or the index that is there was chosen for another number or recall.
    """
    if not (index / _ENTRY_FILE).is_file():
        command = [sys.executable, "-m", "benchmarks.retrieval.saved_index", "--vectors", str(vectors)]
        command += ["--index", str(index), "--at", str(at), "--recall", str(recall_target)]
        for family in families:
            command += ["--family", family]
        if subprocess.run(command, check=False).returncode:
            raise click.ClickException("the index was not built")
    entry = read_entry(index)
    if (entry.recall_at, entry.recall_target) != (at, recall_target):
        raise click.ClickException(
            f"{index}: expected an index chosen for recall {recall_target} at {at}, "
            f"received one for {entry.recall_target} at {entry.recall_at}; name another folder"
        )
    return entry


def build_figures(index: Path) -> BuildFigures:
    """What the build of a saved index took."""
    path = index / _FIGURES_FILE
    try:
        return BuildFigures(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise click.ClickException(f"{path}: expected the build's figures, {error}; build the index anew") from None


@click.command()
@click.option("--vectors", "vectors_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--index", "index_path", type=click.Path(path_type=Path), required=True, help="Where it is kept.")
@click.option("--at", default=500, show_default=True, help="How many nearest items are asked for.")
@click.option("--recall", "recall_target", default=0.95, show_default=True)
@click.option("--family", "families", multiple=True, default=USUAL, show_default=True, help="May be repeated.")
def main(vectors_path: Path, index_path: Path, at: int, recall_target: float, families: tuple[str, ...]) -> None:
    """Builds an index with the builder that publishing uses and writes it with its entry."""
    index_path.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    sampler = _AnonymousPeak()
    sampler.start()
    started = time.perf_counter()
    folder = VectorFolder.open(vectors_path)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("reading", total=1.0)
        last = [""]

        def tell(what: str, part: float) -> None:
            if what != last[0]:
                last[0] = what
                console.print(f"{time.perf_counter() - started:7.1f} s  {what}")
            progress.update(task, description=what, completed=part)

        aim = IndexAim(recall_target=recall_target, at=at, families=families)
        try:
            built = build_index(folder.vectors, folder.tuning_queries, aim, progress=tell)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        write_index(built, index_path)
    seconds = time.perf_counter() - started
    sampler.stop()
    figures = {
        "seconds": seconds,
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_anonymous_bytes": sampler.peak,
    }
    (index_path / _FIGURES_FILE).write_text(json.dumps(figures) + "\n", encoding="utf-8")
    # Last, so that an entry says that the rest is there.
    (index_path / _ENTRY_FILE).write_text(built.entry.model_dump_json() + "\n", encoding="utf-8")
    entry = built.entry
    console.print(f"{seconds:7.1f} s  {entry.factory}, recall {entry.recall:.4f}, {entry.median_ms:.3f} ms")


class _AnonymousPeak(threading.Thread):
    """Looks now and then at what the process holds beside mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, anonymous_bytes() or 0)

    def stop(self) -> None:
        self._ended.set()
        self.join()


if __name__ == "__main__":
    main()
