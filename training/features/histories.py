"""People's interactions as padded histories, many people at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from twostage.features.actions import ActionSchema
from twostage.features.history import HISTORY_LENGTH, SECONDS_PER_DAY


@dataclass(frozen=True)
class UserOrder:
    """Interactions ordered by person, then time, then position in the source.

    Args:
        interactions: The ordered interactions.
        offsets: int64[U + 1]; person u's are ``offsets[u]:offsets[u + 1]``.
    """

    interactions: Interactions
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, interactions: Interactions) -> UserOrder:
        """Orders interactions."""
        if interactions.times is None:
            order = np.argsort(interactions.users, kind="stable")
        else:
            order = np.lexsort((interactions.times, interactions.users))
        counts = np.bincount(interactions.users, minlength=len(interactions.user_ids))
        return cls(interactions.take(order), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def of_user(self, user: int) -> slice:
        """Where a person's interactions stand."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))


@dataclass(frozen=True)
class PaddedHistories:
    """The newest 50 entries of many histories, oldest first, right-padded; see twostage.features.history.

    Args:
        rows: int32[U, 50].
        mask: float32[U, 50].
        actions: int32[U, 50], 1 + the position in the schema's recorded names.
        values: float32[U, 50].
        ages_days: float32[U, 50].
        counts: int64[U], entries before the cut to 50.
    """

    rows: NDArray[np.int32]
    mask: NDArray[np.float32]
    actions: NDArray[np.int32]
    values: NDArray[np.float32]
    ages_days: NDArray[np.float32]
    counts: NDArray[np.int64]

    def first(self, count: int) -> PaddedHistories:
        """The first ``count`` histories."""
        return PaddedHistories(
            self.rows[:count],
            self.mask[:count],
            self.actions[:count],
            self.values[:count],
            self.ages_days[:count],
            self.counts[:count],
        )


def taste_of(interactions: Interactions, actions: ActionSchema) -> NDArray[np.bool_]:
    """Which interactions are taste."""
    return actions.taste_mask(interactions.recorded, interactions.actions, interactions.values)


def pad_histories(
    order: UserOrder,
    users: NDArray[np.integer],
    actions: ActionSchema,
    now_seconds: NDArray[np.int64] | None = None,
) -> PaddedHistories:
    """Pads the histories of some people, as pad_history does for one.

    Args:
        order: The interactions that count as history.
        users: int[U], the people.
        actions: Gives the codes of recorded actions.
        now_seconds: int64[U], each person's present; None when unknown.
    """
    ordered = order.interactions
    starts, ends = order.offsets[users], order.offsets[np.asarray(users) + 1]
    firsts = np.maximum(starts, ends - HISTORY_LENGTH)
    positions = firsts[:, None] + np.arange(HISTORY_LENGTH)
    present = positions < ends[:, None]
    positions = np.where(present, positions, 0)
    if len(ordered) == 0:
        blank = np.zeros((len(users), HISTORY_LENGTH))
        return PaddedHistories(
            blank.astype(np.int32),
            blank.astype(np.float32),
            blank.astype(np.int32),
            blank.astype(np.float32),
            blank.astype(np.float32),
            np.zeros(len(users), np.int64),
        )
    codes = np.array([1 + actions.recorded_names.index(name) for name in ordered.recorded], np.int32)
    ages = np.zeros(positions.shape, np.float32)
    if now_seconds is not None and ordered.times is not None:
        ages = np.maximum(now_seconds[:, None] - ordered.times[positions], 0) / SECONDS_PER_DAY
    return PaddedHistories(
        rows=np.where(present, ordered.rows[positions], 0).astype(np.int32),
        mask=present.astype(np.float32),
        actions=np.where(present, codes[ordered.actions[positions]], 0).astype(np.int32),
        values=np.where(present, np.nan_to_num(ordered.values[positions]), 0).astype(np.float32),
        ages_days=np.where(present, ages, 0).astype(np.float32),
        counts=(ends - starts).astype(np.int64),
    )
