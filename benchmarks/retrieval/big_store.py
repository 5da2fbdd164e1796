"""Publishes a generation of any size for the retrieval service: ``python -m benchmarks.retrieval.big_store``.

Vectors and data are those of ``benchmarks.retrieval.make_vectors``; the user tower is a trained store's, the very one
that they were made with. What the ranker reads is not written: nothing but retrieval can serve the store. It carries no
shares, so one search answers a person, and no golden answers.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.retrieval.item_columns import coded_column
from benchmarks.retrieval.saved_index import ensure_built
from benchmarks.retrieval.vector_folder import VectorFolder
from retrieval_service.engine.index.families import USUAL
from twostage.bundle.attributes import Attributes
from twostage.bundle.coded_values import CodedValues
from twostage.bundle.generation import Generation
from twostage.bundle.histories import histories_folder, write_histories
from twostage.bundle.manifest import IndexEntry, TowerEntry
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter

_FOLDER = "retrieval/content"


@click.command()
@click.option("--vectors", "vectors_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--towers", "towers_path", type=click.Path(path_type=Path, exists=True), required=True, help="A store.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store; made when it is missing.")
@click.option("--index", type=click.Path(path_type=Path), help="A saved index; kept there when it is built.")
@click.option("--at", default=500, show_default=True, help="For an index that is built.")
@click.option("--recall", "target", default=0.95, show_default=True, help="Likewise.")
@click.option("--seed", default=3, show_default=True, help="Of the items' popularity.")
def main(
    vectors_path: Path, towers_path: Path, out: Path, index: Path | None, at: int, target: float, seed: int
) -> None:
    """Writes items, attributes, index, user tower and histories."""
    folder = VectorFolder.open(vectors_path)
    trained = Store(towers_path).open()
    item_count, dimension = folder.vectors.shape
    if dimension != trained.manifest.tower.dimension:
        raise click.ClickException(
            f"--towers: expected a tower of {dimension} dimensions, received {trained.manifest.tower.dimension}"
        )
    with tempfile.TemporaryDirectory() as work:
        index = index or Path(work)
        entry = ensure_built(vectors_path, index, at=at, recall_target=target, families=USUAL)
        store = Store(out)
        with GenerationWriter(store) as writer:
            fields = _fields(trained, folder)
            fields["attributes"] = _write_items(writer, folder, vectors_path / "data" / "items.parquet", trained, seed)
            tower = _write_tower(writer.path, trained, vectors_path, index, entry)
            fields["towers"] = {trained.manifest.default_tower: tower}
            manifest = writer.publish(fields, make_current=False)
    people = _write_people(store, manifest.generation, vectors_path / "data" / "interactions.parquet", folder, trained)
    store.set_current(manifest.generation)
    click.echo(f"generation {manifest.generation}: {item_count:,} items, {people:,} people in {out}")


def _fields(trained: Generation, folder: VectorFolder) -> dict[str, object]:
    """The manifest's fields that follow from the trained store."""
    manifest = trained.manifest
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "item_count": len(folder.vectors),
        "recorded_actions": manifest.recorded_actions,
        "actions": manifest.actions,
        "feature_schema": manifest.feature_schema,
        "default_tower": manifest.default_tower,
        "rankers": manifest.rankers,
        "default_ranker": manifest.default_ranker,
        "source": manifest.source.model_copy(update={"name": f"benchmark-{len(folder.vectors)}"}),
    }


def _write_items(
    writer: GenerationWriter, folder: VectorFolder, items: Path, trained: Generation, seed: int
) -> dict[str, str]:
    """Writes ``items/``; returns the attributes' kinds."""
    item_count = len(folder.vectors)
    # A Zipf law over the rows in random order.
    popularity = item_count / np.random.default_rng(seed).permutation(np.arange(1, item_count + 1))
    item_ids = pq.read_table(items, columns=["item_id"]).column("item_id").slice(0, item_count).to_pylist()
    if len(item_ids) != item_count:
        raise click.ClickException(f"{items}: expected {item_count} items or more, received {len(item_ids)}")
    writer.write_items(item_ids=item_ids, titles=[""] * item_count, popularity=np.floor(popularity), attributes={})
    columns: dict[str, CodedValues | NDArray[np.float64]] = {}
    for name, kind in trained.manifest.attributes.items():
        if kind == "number":
            numbers = pq.read_table(items, columns=[name]).column(name).slice(0, item_count)
            columns[name] = pc.fill_null(pc.cast(numbers, "double"), np.nan).to_numpy()
        else:
            values = coded_column(items, name, item_count)
            assert values is not None, f"{items}: no column {name}, which the trained store has"
            columns[name] = values
    return Attributes.write(writer.path / "items" / "attributes", columns)


def _write_tower(bundle: Path, trained: Generation, vectors: Path, index: Path, entry: IndexEntry) -> TowerEntry:
    """Writes vectors, index and user tower."""
    target = bundle / _FOLDER
    target.mkdir(parents=True)
    shutil.copyfile(vectors / "vectors.npy", target / "item_vectors.npy")
    shutil.copyfile(trained.path / trained.manifest.tower.user_tower, target / "user_tower.tflite")
    names = [*entry.shard_files, *([entry.row_lists] if entry.row_lists else [])]
    for name in names:
        shutil.copyfile(index / name, target / name)
    moved = entry.model_copy(
        update={
            "file": f"{_FOLDER}/{entry.file}",
            "files": [f"{_FOLDER}/{name}" for name in entry.files],
            "row_lists": f"{_FOLDER}/{entry.row_lists}" if entry.row_lists else None,
        }
    )
    return trained.manifest.tower.model_copy(
        update={
            "item_vectors": f"{_FOLDER}/item_vectors.npy",
            "user_tower": f"{_FOLDER}/user_tower.tflite",
            "index": moved,
            "representatives": None,
            "tags": None,
            "source_shares": {},
        }
    )


def _write_people(store: Store, generation: int, interactions: Path, folder: VectorFolder, trained: Generation) -> int:
    """Writes everybody's history as the data has it; returns how many people there are."""
    table = pq.read_table(interactions)
    table = table.sort_by([("user_id", "ascending"), ("time", "ascending")])
    rows = np.array([int(item_id[1:]) for item_id in table.column("item_id").to_pylist()], np.int64)
    known = np.flatnonzero(rows < len(folder.vectors))
    users = np.array(table.column("user_id").to_pylist())[known]
    user_ids, starts = np.unique(users, return_index=True)
    recorded = trained.manifest.recorded_actions
    codes = np.array([recorded.index(name) for name in table.column("action").to_pylist()], np.int64)[known]
    target = histories_folder(store, generation)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_histories(
        target,
        user_ids=user_ids.tolist(),
        item_ids=store.open(generation).ids.ids(range(len(folder.vectors))),
        recorded_actions=recorded,
        offsets=np.append(starts, len(users)),
        rows=rows[known],
        actions=codes,
        values=pc.fill_null(table.column("value"), np.nan).to_numpy()[known],
        times=table.column("time").to_numpy()[known],
    )
    return len(user_ids)


if __name__ == "__main__":
    main()
