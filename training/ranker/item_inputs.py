"""What the ranker knows of each item, before its item tower reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from training.features.spectral import spectral_vectors
from training.features.statistics import item_statistics
from twostage.features.actions import ActionSchema

_NEIGHBOUR_COUNT = 10
_NEIGHBOUR_TEMPERATURE = 0.1
_CHUNK = 1024


@dataclass(frozen=True)
class Standardisation:
    """The means and scales by which item features are standardised, fitted once and kept.

    Args:
        means: float32[F].
        scales: float32[F], 1 where a feature does not vary.
    """

    means: NDArray[np.float32]
    scales: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.float32]) -> Standardisation:
        """Fits on float32[N, F]."""
        deviation = features.std(axis=0)
        return cls(features.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32))

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardises float32[N, F]."""
        # What hardly varied in training must not drown the rest when it does.
        scaled: NDArray[np.float32] = np.clip((features - self.means) / self.scales, -8, 8).astype(np.float32)
        return scaled


@dataclass(frozen=True)
class ItemInputs:
    """The ranker's view of N items.

    Args:
        vectors: float32[N, D], the item tower's vectors.
        features: float32[N, F], standardised statistics; zeros, the average item's, where nothing is known.
        factors: float32[N, T, K], collaborative vectors of unit length, one per taste action; those of items that
            nobody chose are their content neighbours'.
        standardisation: How ``features`` was standardised.
        unseen: bool[N], the items that nobody has acted on.
    """

    vectors: NDArray[np.float32]
    features: NDArray[np.float32]
    factors: NDArray[np.float32]
    standardisation: Standardisation
    unseen: NDArray[np.bool_]

    def __len__(self) -> int:
        """The number of items."""
        return len(self.vectors)

    @property
    def history_table(self) -> NDArray[np.float32]:
        """float32[N, D + T K], what the ranker reads of an item in a history."""
        return np.concatenate([self.vectors, self.factors.reshape(len(self), -1)], axis=1)


def borrow_from_neighbours(
    factors: NDArray[np.float32], vectors: NDArray[np.float32], rows: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """Gives items without a collaborative vector the mean of those of the items nearest in content.

    Without it a new item would lie far from every history, and the ranker would put it last.

    Args:
        factors: float32[N, K], zeros where there is none.
        vectors: float32[N, D], the item tower's vectors, which every item has.
        rows: int[R], the items wanted; all when None.

    Returns:
        float32[N, K], or float32[R, K]: rows of unit length; zeros only when no item has a vector.
    """
    has = np.abs(factors).sum(axis=1) > 0
    known = np.flatnonzero(has)
    wanted = np.arange(len(factors)) if rows is None else rows
    filled = factors[wanted]
    lacking = np.flatnonzero(~has[wanted])
    unknown = wanted[lacking]
    count = min(_NEIGHBOUR_COUNT, len(known))
    if count == 0:
        return filled
    for start in range(0, len(unknown), _CHUNK):
        cosines = vectors[unknown[start : start + _CHUNK]] @ vectors[known].T
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        closeness = np.take_along_axis(cosines, nearest, axis=1)
        weights = np.exp((closeness - closeness.max(axis=1, keepdims=True)) / _NEIGHBOUR_TEMPERATURE)
        mean = np.einsum("un,unk->uk", weights, factors[known[nearest]])
        filled[lacking[start : start + _CHUNK]] = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return filled


def as_if_new(items: ItemInputs, rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """The collaborative vectors that some items would have if nobody had acted on them.

    Args:
        items: The items.
        rows: int[R], which.

    Returns:
        float32[R, T, K].
    """
    parts = []
    for taste in range(items.factors.shape[1]):
        known = items.factors[:, taste].copy()
        known[rows] = 0.0
        parts.append(borrow_from_neighbours(known, items.vectors, rows))
    return np.stack(parts, axis=1) if parts else items.factors[rows]


def taste_actions(actions: ActionSchema) -> list[str]:
    """The names of the actions that are taste, in order."""
    return [action.name for action in actions.actions if action.taste]


def make_item_inputs(
    vectors: NDArray[np.float32],
    interactions: Interactions,
    actions: ActionSchema,
    factor_size: int,
    seed: int,
    standardisation: Standardisation | None = None,
) -> ItemInputs:
    """Computes the ranker's view of the items.

    The ranker only ever compares collaborative vectors with one another, so that new ones, computed from more
    interactions, may take the place of those it was trained with.

    Args:
        vectors: float32[N, D], the item tower's vectors.
        interactions: What may be known of the items' past.
        actions: The data set's actions.
        factor_size: Size of the collaborative vectors.
        seed: Seeds their decomposition.
        standardisation: One fitted before; fitted here when None.
    """
    statistics = item_statistics(interactions, len(vectors), actions)
    standardisation = standardisation or Standardisation.fit(statistics)
    factors = []
    for name in taste_actions(actions):
        done = actions.label(name, interactions.recorded, interactions.actions, interactions.values)
        chosen = spectral_vectors(interactions.take(done), len(vectors), factor_size, seed)
        factors.append(borrow_from_neighbours(chosen, vectors))
    shape = (len(vectors), 0, factor_size)
    unseen = np.bincount(interactions.rows, minlength=len(vectors)) == 0
    return ItemInputs(
        vectors=vectors,
        # Counts of nothing would put a new item below every other one; it is taken for an average one.
        features=np.where(unseen[:, None], np.float32(0), standardisation.apply(statistics)),
        factors=np.stack(factors, axis=1) if factors else np.zeros(shape, np.float32),
        standardisation=standardisation,
        unseen=unseen,
    )
