"""Makes item and user vectors of any number with a store's own towers: ``python -m benchmarks.retrieval.make_vectors``.

The catalogue and its people come from the generator (`twostage data synthesize`), the vectors from the item encoder and
the user tower that were trained on a smaller catalogue of the same kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
from rich.progress import track

from retrieval_service.engine.user_tower import UserTower
from training.data.synthesize import synthesize
from twostage.bundle.store import Store
from twostage.features.item_encoding import ItemEncoder

_BATCH = 4096
_GROUP_ITEMS = 100_000


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder; files in it are replaced.")
@click.option("--items", "item_count", default=1_000_000, show_default=True)
@click.option("--people", "people_count", default=2_000, show_default=True, help="How many user vectors.")
@click.option("--image-dim", default=32, show_default=True, help="As in the data that the store was trained on.")
@click.option("--seed", default=7, show_default=True)
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
def main(
    store_path: Path, out: Path, item_count: int, people_count: int, image_dim: int, seed: int, processes: int
) -> None:
    """Writes ``vectors.npy`` float32[N, D] and ``queries.npy`` float32[Q, D] to a folder, and the data beside them."""
    data = out / "data"
    synthesize(data, item_count, people_count, 30 * people_count, seed, image_dim=image_dim)
    generation = Store(store_path).open(None)
    tower = generation.manifest.tower
    vectors = np.lib.format.open_memmap(
        out / "vectors.npy", mode="w+", dtype=np.float32, shape=(item_count, tower.dimension)
    )
    groups = range(pq.ParquetFile(data / "items.parquet").num_row_groups)
    encode = partial(_encode_group, data / "items.parquet", store_path)
    with ProcessPoolExecutor(processes) as pool:
        start = 0
        for group in track(pool.map(encode, groups), "encoding", total=len(groups)):
            vectors[start : start + len(group)] = group
            start += len(group)
    vectors.flush()
    user_tower = UserTower(generation.path / tower.user_tower, tower.dimension, tower.history_length)
    histories = _histories(data / "interactions.parquet", tower.history_length)
    queries = np.array([user_tower.encode(np.array(vectors[rows])) for rows in histories], np.float32)
    np.save(out / "queries.npy", queries)
    click.echo(f"{len(vectors)} items, {len(queries)} people, {tower.dimension} dimensions in {out}")


def _encode_group(items: Path, store_path: Path, group: int) -> np.ndarray:
    """float32[n, D], the vectors of one row group of the catalogue."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf  # noqa: PLC0415 - only the worker processes hold it

    tf.config.threading.set_intra_op_parallelism_threads(1)
    generation = Store(store_path).open(None)
    folder = (generation.path / generation.manifest.tower.item_vectors).parent
    encoder = ItemEncoder.from_json(json.loads((folder / "item_encoding.json").read_text(encoding="utf-8")))
    model = tf.saved_model.load(str(store_path / "models" / "item_encoder" / str(generation.number)))
    serve = model.signatures["serving_default"]
    table = pq.ParquetFile(items).read_row_group(group)
    parts = []
    for start in range(0, len(table), _BATCH):
        columns = {name: table.column(name).slice(start, _BATCH).to_pylist() for name in encoder.schema.columns}
        arrays = encoder.encode(columns).arrays()
        parts.append(serve(**{name: tf.constant(array) for name, array in arrays.items()})["item_vector"].numpy())
    return np.concatenate(parts)


def _histories(interactions: Path, length: int) -> Iterator[np.ndarray]:
    """Each person's liked or saved rows, the newest ``length``, oldest first."""
    table = pq.read_table(interactions)
    taste = np.array([value is None or value >= 4 for value in table.column("value").to_pylist()])
    users = np.array(table.column("user_id").to_pylist())[taste]
    rows = np.array([int(item_id[1:]) for item_id in table.column("item_id").to_pylist()])[taste]
    _, starts = np.unique(users, return_index=True)
    for own in np.split(rows, np.sort(starts)[1:]):
        yield own[-length:]


if __name__ == "__main__":
    main()
