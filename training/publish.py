"""Publishes trained models as a generation of a store."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.golden import GoldenQuestion
from ranking_service.engine.golden import golden_answers as ranking_answers
from ranking_service.engine.golden import write_golden as write_ranking_golden
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import golden_answers as retrieval_answers
from retrieval_service.engine.golden import write_golden as write_retrieval_golden
from retrieval_service.engine.index.builder import IndexAim, build_index, write_index
from training.data.dataset import Catalogue
from training.evaluation.stages import Stages
from training.features.histories import UserOrder, taste_of
from training.index_plot import plot_frontier
from training.progress import Report, Silent
from training.ranker.candidates import CandidateLists, Requests, make_requests, retrieve
from training.ranker.export import export_ranker, ranker_tables
from training.ranker.item_table import item_table_bytes, rankers_with_table
from training.reindex import FRONTIER_PLOT, TUNING_QUERIES
from training.saved_model_scorer import SavedModelScorer
from training.sources.shares import Choice
from training.sources.write import write_orders, write_tower_sources
from training.towers.export import export_item_tower, user_tower_to_litert
from training.train import TrainedModels
from twostage.bundle.arrays import write_array
from twostage.bundle.generation import Generation
from twostage.bundle.histories import histories_folder, write_histories
from twostage.bundle.manifest import MANIFEST_NAME, Manifest, TowerEntry, write_manifest
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter
from twostage.features.history import HISTORY_LENGTH
from twostage.features.model_inputs import ACTION_SCORES, BY_ROW, RANKER_INPUTS, ROW_INPUTS

TOWER = "content"
"""The tower's name."""
ITEM_ENCODER = "item_encoder"
"""The item tower's name in TensorFlow Serving."""
ITEM_ENCODING_FILE = f"retrieval/{TOWER}/item_encoding.json"
"""How content becomes the item encoder's inputs; twostage.features.item_encoding reads it."""

_GOLDEN_COUNT = 8
_GOLDEN_COUNT_OF_OTHERS = 4
_WARM_UP_COUNT = 4
_INDEX_QUERY_COUNT = 500
_LIBRARIES = ("tensorflow", "keras", "faiss-cpu", "ai-edge-litert", "numpy", "scipy", "pyarrow")


def publish(
    models: TrainedModels,
    store: Store,
    *,
    aim: IndexAim | None = None,
    item_table: str = "auto",
    measure: Callable[[Stages], Mapping[str, Any]] | None = None,
    report: Report | None = None,
) -> Manifest:
    """Writes a generation: items, index, models, tables, golden answers; then histories; CURRENT last.

    Args:
        models: What was trained.
        store: Where to; made when it does not exist.
        aim: What the index must do; the builder's defaults when None.
        item_table: Where rankers find the features of items, of training.ranker.names.ITEM_TABLES: ``model``,
            ``request``, or ``auto``, which is in the model while the tables are small.
        measure: Given the engines over what is about to be published, returns offline metrics for the manifest; None
            measures nothing.
        report: Told of progress.

    Returns:
        The published manifest.

    Raises:
        ExportMismatch: An exported model does not answer as the trained one; nothing is published.
        RankerNotFinite: A ranker has a weight that is NaN or infinite; nothing is published.
        StoreBusy: Another process publishes the same generation.
    """
    report = report or Silent()
    for trained in models.rankers.values():
        trained.check_finite()
    with GenerationWriter(store) as writer:
        report.stage(f"export of generation {writer.generation}")
        some = _golden_requests(models)
        fields = _write_items(models, writer)
        fields |= _write_retrieval(models, writer, aim)
        tower, choice = write_tower_sources(models, writer.path, fields["towers"][TOWER], report)
        fields["towers"] = {TOWER: tower}
        fields |= _write_rankers(models, writer, some, item_table, report)
        fields |= _describe(models, choice)
        stages = _open_stages(writer, fields)
        _write_golden(writer, stages, some)
        metrics = {} if measure is None else dict(measure(stages))
        # Publishing writes the manifest anew, with sums.
        (writer.path / MANIFEST_NAME).unlink()
        manifest = writer.publish({**fields, "metrics": metrics}, make_current=False)
    _write_people(models, store, manifest.generation)
    store.send_histories(manifest.generation)
    store.set_current(manifest.generation)
    report.note(f"generation {manifest.generation} is current in {store.location}")
    return manifest


def _golden_requests(models: TrainedModels) -> tuple[Requests, CandidateLists]:
    """Requests of a few people, of which the first has no history, and their candidates."""
    past = models.past
    taste_counts = np.bincount(past.users[taste_of(past, models.dataset.actions)], minlength=len(past.user_ids))
    known = np.flatnonzero(taste_counts)
    users = known[np.linspace(0, len(known) - 1, min(_GOLDEN_COUNT, len(known))).astype(int)]
    now = None if past.times is None else np.full(len(users), past.times.max())
    requests = make_requests(models.towers, past, users, models.dataset.actions, now)
    count = models.profile.config.ranker_training.candidate_count
    return requests, retrieve(requests, models.towers.item_vectors, count)


def _write_items(models: TrainedModels, writer: GenerationWriter) -> dict[str, Any]:
    catalogue, past = models.dataset.catalogue, models.past
    taste = taste_of(past, models.dataset.actions)
    kinds = writer.write_items(
        item_ids=catalogue.item_ids,
        titles=catalogue.titles(),
        popularity=np.bincount(past.rows[taste], minlength=len(catalogue)).astype(np.float32),
        attributes=item_attributes(catalogue),
    )
    orders = write_orders(writer.path, past, len(catalogue), models.dataset.actions, models.profile.config.sources)
    return {"item_count": len(catalogue), "attributes": kinds, "orders": orders}


def item_attributes(catalogue: Catalogue) -> dict[str, Sequence[Sequence[str]] | NDArray[np.float64]]:
    """The columns that people see, filter by and cap by: categorical, multi-valued and numeric ones."""
    attributes: dict[str, Sequence[Sequence[str]] | NDArray[np.float64]] = {}
    schema = catalogue.schema
    for name in schema.categorical:
        attributes[name] = [[value] if value else [] for value in catalogue.columns.column(name).to_pylist()]
    for name in schema.multi_valued:
        attributes[name] = catalogue.values(name)
    for name in schema.numeric:
        values = catalogue.columns.column(name).to_pylist()
        attributes[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return attributes


def _write_retrieval(models: TrainedModels, writer: GenerationWriter, aim: IndexAim | None) -> dict[str, Any]:
    towers, folder = models.towers, f"retrieval/{TOWER}"
    vectors = towers.item_vectors
    past = models.past
    drawn = np.random.default_rng(models.seed).permutation(np.unique(past.users))[:_INDEX_QUERY_COUNT]
    queries = make_requests(towers, past, drawn, models.dataset.actions).user_vectors
    index = build_index(vectors, queries, aim, seed=models.seed, folder=folder)
    write_array(writer.path / folder / "item_vectors.npy", vectors)
    write_array(writer.path / folder / TUNING_QUERIES, queries)
    write_index(index, writer.path)
    plot_frontier(index.entry, writer.path / folder / FRONTIER_PLOT)
    (writer.path / folder / "user_tower.tflite").write_bytes(user_tower_to_litert(towers.user_tower, vectors))
    (writer.path / ITEM_ENCODING_FILE).write_text(
        json.dumps(towers.encoder.to_json(), ensure_ascii=False) + "\n", encoding="utf-8"
    )
    export_item_tower(towers.item_tower, writer.model_path(ITEM_ENCODER), models.content)
    tower = TowerEntry(
        dimension=vectors.shape[1],
        history_length=HISTORY_LENGTH,
        item_vectors=f"{folder}/item_vectors.npy",
        user_tower=f"{folder}/user_tower.tflite",
        index=index.entry.model_copy(update={"queries": f"{folder}/{TUNING_QUERIES}"}),
    )
    return {"towers": {TOWER: tower}, "default_tower": TOWER}


def _write_rankers(
    models: TrainedModels,
    writer: GenerationWriter,
    some: tuple[Requests, CandidateLists],
    item_table: str,
    report: Report,
) -> dict[str, Any]:
    """Every ranker's model and tables; a history table that another ranker has as well is written once."""
    dtype = models.profile.config.ranker.table_dtype
    sizes = {name: item_table_bytes(one.model, len(models.items), dtype) for name, one in models.rankers.items()}
    with_table = rankers_with_table(item_table, sizes)
    if item_table == "auto" and len(with_table) < len(sizes):
        named = ", ".join(f"{name} ({sizes[name] >> 20:,} MiB)" for name in sizes if name not in with_table)
        report.note(f"item tables too large to be put into the models of {named}: features travel with requests")
    entries: dict[str, dict[str, Any]] = {}
    history_tables: dict[str, NDArray[np.floating]] = {}
    for name, trained in models.rankers.items():
        if len(models.rankers) > 1:
            report.note(f"exporting ranker {name}")
        tables = ranker_tables(trained.model, models.items, dtype)
        candidate_file = f"ranking/{name}/candidate_table.npy"
        write_array(writer.path / candidate_file, tables[0])
        same = (file for file, table in history_tables.items() if np.array_equal(table, tables[1]))
        history_file = next(same, f"ranking/{name}/history_table.npy")
        if history_file not in history_tables:
            write_array(writer.path / history_file, tables[1])
            history_tables[history_file] = tables[1]
        requests, candidates = some
        export_ranker(
            trained.model,
            writer.model_path(name),
            models.items,
            tables,
            requests.first(_WARM_UP_COUNT),
            candidates,
            model_name=name,
            version=writer.generation,
            by_row=name in with_table,
        )
        entries[name] = {
            "model": name,
            "inputs": list(RANKER_INPUTS),
            "output": ACTION_SCORES,
            "actions": list(models.dataset.actions.names),
            "candidate_table": candidate_file,
            "history_table": history_file,
            "blend": models.dataset.actions.weights,
            "by_row": {"signature": BY_ROW, "inputs": list(ROW_INPUTS)} if name in with_table else None,
        }
    return {"rankers": entries, "default_ranker": models.ranker.name}


def _describe(models: TrainedModels, choice: Choice) -> dict[str, Any]:
    dataset = models.dataset
    schema = dataset.catalogue.schema
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "recorded_actions": list(dataset.actions.recorded_names),
        "actions": [asdict(action) for action in dataset.actions.actions],
        "feature_schema": {
            "title": schema.title,
            "text": list(schema.text),
            "categorical": list(schema.categorical),
            "numeric": list(schema.numeric),
            "multi_valued": list(schema.multi_valued),
            "image": schema.image,
        },
        "source": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "user_count": len(dataset.interactions.user_ids),
            "interaction_count": len(dataset.interactions),
            "has_times": dataset.interactions.times is not None,
        },
        "training": {
            "profile": models.profile.name,
            "seed": models.seed,
            "config": asdict(models.profile.config),
            "seconds": models.seconds,
            "tower_epoch_count": models.towers.epoch_count,
            "tower_recall": _number(models.towers.best_recall),
            "ranker_epoch_count": models.ranker.epoch_count,
            "ranker_best_epoch": models.ranker.best_epoch,
            "ranker_ndcg": _number(models.ranker.best_score),
            "retrieval_ndcg": _number(models.ranker.retrieval_score),
            "rankers": {name: trained.as_manifest() for name, trained in models.rankers.items()},
            "source_shares": choice.as_manifest(),
        },
        "libraries": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(float(value), 6) if np.isfinite(value) else None


def _open_stages(writer: GenerationWriter, fields: Mapping[str, Any]) -> Stages:
    """The serving engines over the files that are about to be published."""
    write_manifest(writer.path, Manifest(**fields, generation=writer.generation))
    generation = Generation(writer.path)
    scorer = SavedModelScorer(
        {entry["model"]: writer.model_path(entry["model"]) for entry in fields["rankers"].values()}
    )
    return Stages(RetrievalEngine.open(generation), RankingEngine.open(generation), scorer)


def _write_golden(writer: GenerationWriter, stages: Stages, some: tuple[Requests, CandidateLists]) -> None:
    """Writes what the engines answer now, for serving to compare with."""
    requests, candidates = some
    histories = [
        requests.histories.rows[person][requests.histories.mask[person] > 0] for person in range(len(requests))
    ]
    write_retrieval_golden(writer.path, retrieval_answers(stages.retrieval, [np.zeros(0, np.int32), *histories]))
    questions = [
        GoldenQuestion(
            history_rows=tuple(history.tolist()),
            candidate_rows=tuple(candidates.rows[person][present].tolist()),
            retrieval_scores=tuple(candidates.scores[person][present].tolist()),
        )
        for person, history in enumerate([np.zeros(0, np.int32), *histories[:-1]])
        for present in (candidates.rows[person] >= 0,)
    ]
    manifest = stages.ranking.generation.manifest
    others = [name for name in manifest.rankers if name != manifest.default_ranker]
    for name in others:
        questions += [replace(question, ranker=name) for question in questions[:_GOLDEN_COUNT_OF_OTHERS]]
    # A blend of a request may ask for what the ranker's own blend leaves out. The first question is of nobody.
    somebody = questions[min(1, len(histories) - 1)]
    for name, entry in manifest.rankers.items():
        silent = [action for action in entry.actions if not entry.blend.get(action)]
        questions += [replace(somebody, ranker=name, blend={action: 1.0}) for action in silent]
    write_ranking_golden(writer.path, ranking_answers(stages.ranking, stages.scorer, questions))


def _write_people(models: TrainedModels, store: Store, generation: int) -> None:
    """Histories for the user store: everything known, the newest data included, but for what it told us itself."""
    learnable, user_count = models.learnable.copy(), len(models.dataset.interactions.user_ids)
    if models.dataset.logged is not None:
        learnable[len(learnable) - models.dataset.logged.interaction_count :] = False
        user_count -= models.dataset.logged.user_count
    order = UserOrder.of(models.dataset.interactions.take(learnable))
    interactions = order.interactions
    folder = histories_folder(store, generation)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_histories(
        folder,
        # The last ones are keys of people whose ids only the user store knows.
        user_ids=interactions.user_ids[:user_count],
        item_ids=models.dataset.catalogue.item_ids,
        recorded_actions=interactions.recorded,
        offsets=order.offsets[: user_count + 1],
        rows=interactions.rows,
        actions=interactions.actions,
        values=interactions.values,
        times=interactions.times,
    )
