"""Recall over the whole catalogue, for early stopping."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from training.features.histories import PaddedHistories, UserOrder, pad_histories
from training.towers.user_tower import encode_users
from twostage.features.actions import ActionSchema

_CHUNK = 512


@dataclass(frozen=True)
class RecallProbe:
    """People with held-out taste, drawn once, whose recall is measured after each epoch.

    Args:
        histories: Their taste in training.
        seen: Rows of their training items, person by person.
        relevant: Rows of their held-out taste, person by person.
    """

    histories: PaddedHistories
    seen: tuple[NDArray[np.int32], ...]
    relevant: tuple[NDArray[np.int32], ...]

    @classmethod
    def draw(
        cls,
        training_taste: Interactions,
        held_out_taste: Interactions,
        actions: ActionSchema,
        user_count: int,
        seed: int,
    ) -> RecallProbe:
        """Draws people who have taste both in training and held out.

        Args:
            training_taste: Taste that training sees.
            held_out_taste: Taste held out for validation.
            actions: The data set's actions.
            user_count: How many people at most.
            seed: Seeds the draw.
        """
        known, held_out = UserOrder.of(training_taste), UserOrder.of(held_out_taste)
        both = np.flatnonzero((np.diff(known.offsets) > 0) & (np.diff(held_out.offsets) > 0))
        users = np.sort(np.random.default_rng(seed).permutation(both)[:user_count])
        seen = [known.interactions.rows[known.of_user(user)] for user in users]
        relevant = [
            np.setdiff1d(held_out.interactions.rows[held_out.of_user(user)], rows)
            for user, rows in zip(users, seen, strict=True)
        ]
        kept = [position for position, rows in enumerate(relevant) if len(rows)]
        return cls(
            histories=pad_histories(known, users[kept], actions),
            seen=tuple(seen[position] for position in kept),
            relevant=tuple(relevant[position] for position in kept),
        )

    def measure(self, user_tower: keras.Model, item_vectors: NDArray[np.float32], k: int) -> float:
        """The mean share of a person's held-out items (of at most k) among their first k; NaN without people."""
        if not self.relevant:
            return float("nan")
        k = min(k, len(item_vectors))
        user_vectors = encode_users(user_tower, item_vectors, self.histories.rows, self.histories.mask)
        shares = []
        for start in range(0, len(self.relevant), _CHUNK):
            scores = user_vectors[start : start + _CHUNK] @ item_vectors.T
            for offset, row in enumerate(scores):
                person = start + offset
                row[self.seen[person]] = -np.inf
                top = np.argpartition(-row, k - 1)[:k]
                found = np.isin(self.relevant[person], top).sum()
                shares.append(found / min(k, len(self.relevant[person])))
        return float(np.mean(shares))
