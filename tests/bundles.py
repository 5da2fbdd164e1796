"""Small stores with everything that serving reads, published through the real writer; nothing in them is trained."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import golden_answers, write_golden
from tests.once import made_once_in, shared_root
from twostage.bundle.arrays import write_array
from twostage.bundle.histories import write_histories
from twostage.bundle.id_table import IdTable
from twostage.bundle.manifest import (
    ActionEntry,
    IndexEntry,
    OrdersEntry,
    RankerEntry,
    SchemaEntry,
    SourceEntry,
    TowerEntry,
)
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter
from twostage.features import model_inputs

TOWER = "default"
RANKER = "default"
RECORDED_ACTIONS = ["rated", "to_read"]
ACTIONS = (
    ActionEntry(name="rated", source="rated", taste=False, weight=0.5),
    ActionEntry(name="liked", source="rated", min_value=4.0, taste=True, weight=1.0),
    ActionEntry(name="to_read", source="to_read", taste=True, weight=0.25),
)
CLUSTERS = ("fantasy", "romance", "history", "crime", "science", "poetry", "travel", "children")
LANGUAGES = ("eng", "fre", "ger", "spa")


@dataclass(frozen=True)
class TinyCatalogue:
    """A random catalogue whose clusters show in vectors and tags alike.

    Args:
        item_ids: N ids, ``item-0`` onwards; some are not ASCII.
        titles: N titles.
        vectors: float32[N, D], L2-normalised, no two equal.
        clusters: int[N], positions in CLUSTERS.
        popularity: float32[N], skewed, with ties and zeros.
        tags: N lists of one to three tags; one item has none.
        languages: N lists of one language.
        years: float64[N], NaN for every eleventh item.
    """

    item_ids: list[str]
    titles: list[str]
    vectors: NDArray[np.float32]
    clusters: NDArray[np.int64]
    popularity: NDArray[np.float32]
    tags: list[list[str]]
    languages: list[list[str]]
    years: NDArray[np.float64]


def make_catalogue(*, item_count: int = 200, dimension: int = 16, seed: int = 0) -> TinyCatalogue:
    """Makes a catalogue; the same arguments make the same one."""
    generator = np.random.default_rng(seed)
    clusters = generator.integers(0, len(CLUSTERS), item_count)
    centres = generator.normal(size=(len(CLUSTERS), dimension))
    vectors = centres[clusters] + 0.6 * generator.normal(size=(item_count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    popularity = np.floor(1000.0 / (1 + generator.permutation(item_count))).astype(np.float32)
    tags = [[CLUSTERS[c], *[f"mood-{m}" for m in generator.choice(5, 2, replace=False)]] for c in clusters]
    tags[-1] = []
    years = generator.integers(1900, 2025, item_count).astype(np.float64)
    years[::11] = np.nan
    return TinyCatalogue(
        item_ids=[f"item-{row}" if row % 17 else f"ítem-{row}" for row in range(item_count)],
        titles=[f"A {CLUSTERS[c]} book, volume {row}" for row, c in enumerate(clusters)],
        vectors=vectors.astype(np.float32),
        clusters=clusters,
        popularity=popularity,
        tags=tags,
        languages=[[LANGUAGES[0 if generator.random() < 0.7 else 1 + row % 3]] for row in range(item_count)],
        years=years,
    )


@dataclass(frozen=True)
class TinyOrders:
    """Orders of a catalogue's items beside popularity, uint32 rows.

    Args:
        trending: A quarter of the rows, in random order.
        arrivals: The rows with a year, the latest year first, ties by row.
        representatives: Two rows of every cluster, cluster by cluster.
    """

    trending: NDArray[np.uint32]
    arrivals: NDArray[np.uint32]
    representatives: NDArray[np.uint32]


def make_orders(catalogue: TinyCatalogue) -> TinyOrders:
    """Makes orders; the same catalogue has the same."""
    item_count = len(catalogue.item_ids)
    shuffled = np.random.default_rng(11).permutation(item_count)
    dated = np.flatnonzero(~np.isnan(catalogue.years))
    clusters = [np.flatnonzero(catalogue.clusters == cluster)[:2] for cluster in range(len(CLUSTERS))]
    return TinyOrders(
        trending=shuffled[: item_count // 4].astype(np.uint32),
        arrivals=dated[np.argsort(-catalogue.years[dated], kind="stable")].astype(np.uint32),
        representatives=np.concatenate(clusters).astype(np.uint32),
    )


def make_tag_vectors(catalogue: TinyCatalogue) -> dict[str, NDArray[np.float32]]:
    """The names of the clusters that have items, each with the mean vector of those, L2-normalised."""
    means = {
        name: catalogue.vectors[catalogue.clusters == cluster].mean(axis=0)
        for cluster, name in enumerate(CLUSTERS)
        if (catalogue.clusters == cluster).any()
    }
    return {name: (mean / np.linalg.norm(mean)).astype(np.float32) for name, mean in means.items()}


def user_tower_path(dimension: int = 16, *, weighing: bool = True) -> Path:
    """An untrained user tower for LiteRT, made once in a test session; one that does not tell its weights when told."""
    return _tiny_models(dimension) / ("user_tower.tflite" if weighing else "silent_user_tower.tflite")


def ranker_path(dimension: int = 16) -> Path:
    """The folder of an untrained ranker's SavedModel, made once in a test session."""
    return _tiny_models(dimension) / "ranker"


def make_store(
    path: Path,
    *,
    item_count: int = 200,
    dimension: int = 16,
    seed: int = 0,
    user_count: int = 20,
    with_models: bool = False,
    with_sources: bool = False,
    source_shares: Mapping[str, float] | None = None,
    make_current: bool = True,
) -> Store:
    """Publishes one more generation to the store at ``path``; the first makes the store.

    People ``user-0`` onwards have histories in one cluster each, written to ``users/<generation>`` in the store;
    the last of them has an empty one.

    Args:
        path: The store's folder.
        item_count: N.
        dimension: D of the vectors; the ranker's candidate table has D + 1 columns, its history table D.
        seed: Seed of everything random.
        user_count: People with histories.
        with_models: True adds the ranker's SavedModel, ``models/default/<generation>``.
        with_sources: True adds what the optional sources read: :func:`make_orders` and :func:`make_tag_vectors`.
        source_shares: The tower's shares of sources by name; none when None.
        make_current: False publishes without moving CURRENT.
    """
    store = Store(path)
    catalogue = make_catalogue(item_count=item_count, dimension=dimension, seed=seed)
    with GenerationWriter(store) as writer:
        kinds = writer.write_items(
            item_ids=catalogue.item_ids,
            titles=catalogue.titles,
            popularity=catalogue.popularity,
            attributes={"tags": catalogue.tags, "language": catalogue.languages, "year": catalogue.years},
        )
        tower = _write_tower(writer.path, catalogue.vectors)
        tower = tower.model_copy(update={"source_shares": dict(source_shares or {})})
        orders = OrdersEntry()
        if with_sources:
            tower, orders = _write_sources(writer.path, tower, catalogue)
        _write_golden(writer.path, tower, orders, kinds, catalogue)
        ranker = _write_ranker(writer.path, catalogue)
        if with_models:
            shutil.copytree(ranker_path(dimension), writer.model_path(RANKER))
        writer.publish(
            {
                "created_at": "2025-01-01T00:00:00Z",
                "item_count": item_count,
                "recorded_actions": RECORDED_ACTIONS,
                "actions": ACTIONS,
                "feature_schema": SchemaEntry(title="title", text=["title"], multi_valued=["tags"], numeric=["year"]),
                "attributes": kinds,
                "towers": {TOWER: tower},
                "default_tower": TOWER,
                "rankers": {RANKER: ranker},
                "default_ranker": RANKER,
                "orders": orders,
                "source": SourceEntry(name="tiny", fingerprint=f"seed-{seed}", user_count=user_count),
            },
            make_current=make_current,
        )
    _write_histories(store.path / "users" / str(writer.generation), catalogue, user_count, seed)
    return store


def _write_tower(bundle: Path, vectors: NDArray[np.float32]) -> TowerEntry:
    folder = f"retrieval/{TOWER}"
    dimension = vectors.shape[1]
    write_array(bundle / folder / "item_vectors.npy", vectors)
    shutil.copyfile(user_tower_path(dimension), bundle / folder / "user_tower.tflite")
    index = faiss.IndexFlatIP(dimension)
    index.add(vectors)
    faiss.write_index(index, str(bundle / folder / "index.faiss"))
    return TowerEntry(
        dimension=dimension,
        history_length=50,
        item_vectors=f"{folder}/item_vectors.npy",
        user_tower=f"{folder}/user_tower.tflite",
        index=IndexEntry(family="exact", factory="Flat", file=f"{folder}/index.faiss", recall=1.0, recall_at=500),
    )


def _write_sources(bundle: Path, tower: TowerEntry, catalogue: TinyCatalogue) -> tuple[TowerEntry, OrdersEntry]:
    orders = make_orders(catalogue)
    write_array(bundle / "items" / "trending.npy", orders.trending)
    write_array(bundle / "items" / "arrivals.npy", orders.arrivals)
    folder = f"retrieval/{TOWER}"
    write_array(bundle / folder / "representatives.npy", orders.representatives)
    tags = make_tag_vectors(catalogue)
    IdTable.write(bundle / folder / "tags" / "vocabulary", list(tags))
    write_array(bundle / folder / "tags" / "vectors.npy", np.array(list(tags.values())))
    named = {"representatives": f"{folder}/representatives.npy", "tags": f"{folder}/tags"}
    return tower.model_copy(update=named), OrdersEntry(trending="items/trending.npy", arrivals="items/arrivals.npy")


def _write_golden(
    bundle: Path, tower: TowerEntry, orders: OrdersEntry, kinds: dict[str, str], catalogue: TinyCatalogue
) -> None:
    item_count = len(catalogue.item_ids)
    engine = RetrievalEngine.open_folder(bundle, tower, attributes=kinds, item_count=item_count, orders=orders)
    histories = [[], [0], [row % item_count for row in (3, 14, 15)]]
    write_golden(bundle, golden_answers(engine, histories, count=20))


def _write_ranker(bundle: Path, catalogue: TinyCatalogue) -> RankerEntry:
    folder = f"ranking/{RANKER}"
    popularity = catalogue.popularity / catalogue.popularity.max()
    candidates = np.concatenate([catalogue.vectors, popularity[:, np.newaxis]], axis=1)
    write_array(bundle / folder / "candidates.npy", candidates.astype(np.float16))
    write_array(bundle / folder / "histories.npy", catalogue.vectors.astype(np.float16))
    return RankerEntry(
        model=RANKER,
        inputs=[
            model_inputs.HISTORY_FEATURES,
            model_inputs.HISTORY_MASK,
            model_inputs.CANDIDATE_FEATURES,
            model_inputs.RETRIEVAL_SCORES,
        ],
        actions=[action.name for action in ACTIONS],
        candidate_table=f"{folder}/candidates.npy",
        history_table=f"{folder}/histories.npy",
        blend={action.name: action.weight for action in ACTIONS},
    )


def _write_histories(folder: Path, catalogue: TinyCatalogue, user_count: int, seed: int) -> None:
    generator = np.random.default_rng(seed + 1)
    rows: list[int] = []
    offsets = [0]
    for user in range(user_count):
        own = np.flatnonzero(catalogue.clusters == user % len(CLUSTERS))
        if user < user_count - 1 and len(own):
            rows.extend(generator.choice(own, min(len(own), 3 + user % 5), replace=False).tolist())
        offsets.append(len(rows))
    actions = generator.integers(0, len(RECORDED_ACTIONS), len(rows))
    values = np.where(actions == 0, generator.integers(1, 6, len(rows)), np.nan)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_histories(
        folder,
        user_ids=[f"user-{user}" for user in range(user_count)],
        item_ids=catalogue.item_ids,
        recorded_actions=RECORDED_ACTIONS,
        offsets=np.array(offsets),
        rows=np.array(rows, np.uint32),
        actions=actions,
        values=values,
        times=1_700_000_000 + 60 * np.arange(len(rows)),
    )


@functools.cache
def _models_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="twostage-tiny-models-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def _tiny_models(dimension: int) -> Path:
    return made_once_in(
        shared_root() or _models_folder(), f"tiny-models-{dimension}", functools.partial(_make_models, dimension)
    )


def _make_models(dimension: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    # A process of its own: the tests must not hold TensorFlow, which the services under test never import.
    program = Path(__file__).with_name("tiny_models.py")
    subprocess.run(
        [sys.executable, program, folder, str(dimension)],
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )
