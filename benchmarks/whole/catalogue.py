"""A catalogue of any size with models that were trained on its beginning."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.whole.content import begin, encode
from training.config import SharesConfig, SourcesConfig
from training.data.dataset import Catalogue
from training.data.read import read_dataset
from training.data.synthesize import synthesize
from training.features.content import content_columns
from training.profiles import QUICK, Profile
from training.progress import Report
from training.ranker.item_inputs import ItemInputs
from training.towers.item_tower import encode_items
from training.train import TrainedModels, train
from twostage.features.item_encoding import EncodedItems

KNOWN_ITEMS = 10_000
"""So many items at most have a past, and are what models are trained on; all others are new ones."""

_PEOPLE = 4_000
_INTERACTIONS = 120_000
_SEED = 17
_CHUNK = 50_000
_NEIGHBOUR_COUNT = 10
_NEIGHBOUR_TEMPERATURE = 0.1


def benchmark_profile() -> Profile:
    """Models of the usual sizes after little training: what they cost is measured, not how well they recommend.

    No source beside the user vector gets a share of the candidates, so that one search of the index answers a person,
    as in the floor and in the peers.
    """
    config = QUICK.config
    return Profile(
        "benchmark",
        replace(
            config,
            tower_training=replace(
                config.tower_training, max_epoch_count=1, steps_per_epoch=20, warm_start_epoch_count=4
            ),
            # A million items' rows of both tables are 1.8 GB in single precision, once for each generation held.
            ranker=replace(config.ranker, table_dtype="float16"),
            ranker_training=replace(config.ranker_training, max_epoch_count=1, user_count=6_000, least_step_count=30),
            sources=SourcesConfig(shares=SharesConfig(user_count=100, most=0.0)),
        ),
    )


def train_known(work: Path, item_count: int, report: Report) -> TrainedModels:
    """Trains both stages on a synthetic data set.

    Args:
        work: A folder for the data.
        item_count: Items of the data set.
        report: Told of progress.
    """
    folder = work / f"known-{item_count}"
    people = max(200, _PEOPLE * item_count // KNOWN_ITEMS)
    synthesize(folder, item_count, people, _INTERACTIONS * people // _PEOPLE, _SEED)
    return train(read_dataset(folder), benchmark_profile(), seed=_SEED, report=report)


def extended(models: TrainedModels, item_count: int, work: Path, report: Report) -> TrainedModels:
    """The same models over a larger catalogue, whose further items nobody has acted on yet.

    Their content goes through the trained item tower, and what the ranker knows of them is what it knows of any new
    item. People, histories and rows of the items with a past stay as they are.

    Args:
        models: Of :func:`train_known`.
        item_count: Items wanted, at least those that the models know.
        work: A folder for the data.
        report: Told of progress.
    """
    known = models.dataset.catalogue
    more_count = item_count - len(known)
    if not more_count:
        return models
    folder = work / f"more-{more_count}"
    report.stage(f"{more_count:,} more items")
    synthesize(folder, more_count, 1, 1, _SEED + 1)
    more = read_dataset(folder).catalogue
    more = replace(more, item_ids=[f"n{item_id}" for item_id in more.item_ids])
    report.stage("their content")
    encoded = _encoded(models, more, report)
    report.stage("their vectors")
    towers = models.towers
    vectors = np.concatenate([towers.item_vectors, encode_items(towers.item_tower, encoded)])
    report.stage("what the ranker knows of them")
    items = _with_new(models.items, vectors)
    catalogue = Catalogue(known.item_ids + more.item_ids, _stacked(known.columns, more.columns), known.schema)
    return replace(
        models,
        dataset=replace(models.dataset, name=f"{models.dataset.name}-in-{item_count}", catalogue=catalogue),
        content=_joined([models.content, encoded]),
        towers=replace(towers, item_vectors=vectors),
        items=items,
    )


def _stacked(first: pa.Table, second: pa.Table) -> pa.Table:
    return pa.concat_tables([first, second.select(first.column_names).cast(first.schema)]).combine_chunks()


def _with_new(items: ItemInputs, vectors: NDArray[np.float32]) -> ItemInputs:
    """What the ranker knows of items with a past, and then of new ones: nothing, but for what is borrowed.

    The rule is that of `training.ranker.item_inputs` for new items, looked up among the items that were trained on: at
    a million items its search of everything would take longer than all else together.
    """
    known_count, new = len(items), vectors[len(items) :]
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors[:known_count])
    factors = np.empty((len(vectors), *items.factors.shape[1:]), np.float32)
    factors[:known_count] = items.factors
    for start in range(0, len(new), _CHUNK):
        closeness, rows = index.search(new[start : start + _CHUNK], _NEIGHBOUR_COUNT)
        weights = np.exp((closeness - closeness[:, :1]) / _NEIGHBOUR_TEMPERATURE)
        mean = sum(weights[:, [place], None] * items.factors[rows[:, place]] for place in range(_NEIGHBOUR_COUNT))
        mean /= np.maximum(np.linalg.norm(mean, axis=2, keepdims=True), 1e-12)
        factors[known_count + start : known_count + start + len(mean)] = mean
    features = np.zeros((len(vectors), items.features.shape[1]), np.float32)
    features[:known_count] = items.features
    unseen = np.ones(len(vectors), np.bool_)
    unseen[:known_count] = items.unseen
    return ItemInputs(vectors, features, factors, items.standardisation, unseen)


def _encoded(models: TrainedModels, catalogue: Catalogue, report: Report) -> EncodedItems:
    starts = range(0, len(catalogue), _CHUNK)
    # Spawned: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, begin, (models.towers.encoder,)) as pool:
        waiting = [
            pool.submit(encode, content_columns(catalogue, np.arange(start, min(start + _CHUNK, len(catalogue)))))
            for start in starts
        ]
        return _joined([waiting[step].result() for step in report.steps(len(waiting), "content")])


def _joined(parts: list[EncodedItems]) -> EncodedItems:
    arrays = [part.arrays() for part in parts]
    return EncodedItems(**{name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]})
