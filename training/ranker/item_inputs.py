"""What the ranker knows of each item, before its item tower reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from training.features.spectral import spectral_vectors
from training.features.statistics import item_statistics
from twostage.features.actions import ActionSchema


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
        scaled: NDArray[np.float32] = ((features - self.means) / self.scales).astype(np.float32)
        return scaled


@dataclass(frozen=True)
class ItemInputs:
    """The ranker's view of N items.

    Args:
        vectors: float32[N, D], the item tower's vectors.
        features: float32[N, F], standardised statistics.
        factors: float32[N, T, K], collaborative vectors of unit length, one per taste action; zeros when nobody did it.
        standardisation: How ``features`` was standardised.
    """

    vectors: NDArray[np.float32]
    features: NDArray[np.float32]
    factors: NDArray[np.float32]
    standardisation: Standardisation

    def __len__(self) -> int:
        """The number of items."""
        return len(self.vectors)

    @property
    def history_table(self) -> NDArray[np.float32]:
        """float32[N, D + T K], what the ranker reads of an item in a history."""
        return np.concatenate([self.vectors, self.factors.reshape(len(self), -1)], axis=1)


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
        factors.append(spectral_vectors(interactions.take(done), len(vectors), factor_size, seed))
    shape = (len(vectors), 0, factor_size)
    return ItemInputs(
        vectors=vectors,
        features=standardisation.apply(statistics),
        factors=np.stack(factors, axis=1) if factors else np.zeros(shape, np.float32),
        standardisation=standardisation,
    )
