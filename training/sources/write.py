"""Writes what the sources beside the user vector read, and chooses their shares."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from retrieval_service.engine.engine import RetrievalEngine
from training.config import SourcesConfig
from training.data.dataset import Interactions
from training.features.histories import taste_of
from training.progress import Report
from training.sources.orders import arrival_rows, trending_rows
from training.sources.representatives import representative_rows
from training.sources.shares import Choice, choose_shares, draw_askers
from training.sources.tag_vectors import encode_tags
from training.towers.user_tower import encode_users
from training.train import TrainedModels
from twostage.bundle.arrays import write_array
from twostage.bundle.manifest import OrdersEntry, TowerEntry
from twostage.bundle.writer import write_popularity
from twostage.features.actions import ActionSchema

_TRENDING = "items/trending_rows.npy"
_ARRIVALS = "items/arrival_rows.npy"


def write_orders(
    folder: Path, past: Interactions, item_count: int, actions: ActionSchema, config: SourcesConfig
) -> OrdersEntry:
    """Writes what is trending and what is new as of the end of ``past`` into ``items/``.

    Args:
        folder: A generation's folder.
        past: What may be known; without times nothing is trending or new, and nothing is written.
        item_count: The catalogue's size.
        actions: Which of the past is taste; trending is what people have a taste for.
        config: The half-life.
    """
    taste = past.take(taste_of(past, actions))
    trending = trending_rows(taste, item_count, config.trending_half_life_days)
    arrivals = arrival_rows(past, item_count)
    if trending is None or arrivals is None:
        return OrdersEntry()
    write_array(folder / _TRENDING, trending)
    write_array(folder / _ARRIVALS, arrivals)
    return OrdersEntry(trending=_TRENDING, arrivals=_ARRIVALS)


def write_tower_sources(
    models: TrainedModels, folder: Path, tower: TowerEntry, report: Report
) -> tuple[TowerEntry, Choice]:
    """Writes representatives and vectors of interest tags of a tower and chooses the sources' shares.

    Args:
        models: What was trained.
        folder: The generation's folder; item vectors, index and user tower lie in it already.
        tower: The tower that they are of; what is written goes beside its item vectors.
        report: Told of progress.

    Returns:
        The tower with its sources, and why it has these shares.
    """
    config = models.profile.config.sources
    catalogue, past, vectors = models.dataset.catalogue, models.past, models.towers.item_vectors
    beside = Path(tower.item_vectors).parent
    taste = past.take(taste_of(past, models.dataset.actions))
    popularity = np.bincount(taste.rows, minlength=len(catalogue))
    representatives = representative_rows(
        vectors,
        popularity,
        most_count=config.representative_count,
        items_per_cluster=config.items_per_representative,
        seed=models.seed,
    )
    stated = {"representatives": str(beside / "representatives.npy")}
    write_array(folder / stated["representatives"], representatives)
    tags = encode_tags(
        [catalogue.values(name) for name in catalogue.schema.multi_valued],
        popularity,
        lambda rows, mask: encode_users(models.towers.user_tower, vectors, rows, mask),
        config.tags,
        models.seed,
    )
    if tags is not None:
        stated["tags"] = str(beside / "tags")
        tags.write(folder / stated["tags"])
    report.note(f"{len(representatives)} representatives, {0 if tags is None else len(tags.tags):,} tags with vectors")
    choice = _choose_shares(models, folder, tower, report)
    shares = {(source.name or "").lower(): share for source, share in choice.shares.items()}
    return tower.model_copy(update={**stated, "source_shares": shares}), choice


def _choose_shares(models: TrainedModels, folder: Path, tower: TowerEntry, report: Report) -> Choice:
    """Chooses by how the validation part is found with what was known before it."""
    interactions, split, actions = models.dataset.interactions, models.split, models.dataset.actions
    config = models.profile.config
    before = interactions.take(split.train & models.learnable)
    following = interactions.take(split.validation & models.learnable)
    item_count = len(models.dataset.catalogue)
    askers = draw_askers(before, following, actions, config.sources.shares.user_count, models.seed)
    count = config.ranker_training.candidate_count
    with tempfile.TemporaryDirectory() as name:
        # The serving engine over the same vectors and index, but with orders that know nothing of what is to be found.
        then = Path(name)
        (then / "retrieval").symlink_to((folder / "retrieval").resolve())
        taste = before.take(taste_of(before, actions))
        write_popularity(then / "items", np.bincount(taste.rows, minlength=item_count))
        orders = write_orders(then, before, item_count, actions, config.sources)
        engine = RetrievalEngine.open_folder(then, tower, attributes={}, item_count=item_count, orders=orders)
        choice = choose_shares(engine, askers, count, config.sources.shares, report)
    shares = ", ".join(f"{(source.name or '').lower()} {share:g}" for source, share in choice.shares.items())
    report.note(
        f"recall@{count} of candidates {choice.user_vector_recall:.3f} by the user vector alone, "
        + (f"{choice.recall:.3f} with shares of {shares}" if shares else "no other source adds to it")
    )
    return choice
