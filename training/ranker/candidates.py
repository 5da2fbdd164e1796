"""The retrieval stage's own candidates for many people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Interactions
from training.features.contexts import encode_contexts
from training.features.histories import PaddedHistories, UserOrder, pad_histories, taste_of
from training.towers.fit import Towers
from training.towers.user_tower import encode_users
from twostage.features.actions import ActionSchema

_CHUNK = 512


@dataclass(frozen=True)
class Requests:
    """B people, each at one moment, with what the stages know of them.

    Args:
        users: int[B], positions in the data set's user ids.
        histories: Their taste, oldest first, as both stages read it when serving.
        user_vectors: float32[B, D], the user tower's answer to their taste.
        context: float32[B, 6].
        seen: CSR-like offsets int64[B + 1] and rows int32 of all their items, which are no candidates.
    """

    users: NDArray[np.int64]
    histories: PaddedHistories
    user_vectors: NDArray[np.float32]
    context: NDArray[np.float32]
    seen: tuple[NDArray[np.int64], NDArray[np.int32]]

    def __len__(self) -> int:
        """The number of people."""
        return len(self.users)

    def first(self, count: int) -> Requests:
        """The first ``count`` people."""
        offsets, rows = self.seen
        offsets = offsets[: count + 1]
        return Requests(
            users=self.users[:count],
            histories=self.histories.first(count),
            user_vectors=self.user_vectors[:count],
            context=self.context[:count],
            seen=(offsets, rows[: offsets[-1]]),
        )


@dataclass(frozen=True)
class CandidateLists:
    """Candidates of B requests, best retrieval score first.

    Args:
        rows: int32[B, n]; -1 where there are fewer.
        scores: float32[B, n], retrieval scores, 0 where there is no candidate.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]


def make_requests(
    towers: Towers,
    past: Interactions,
    users: NDArray[np.integer],
    actions: ActionSchema,
    times: NDArray[np.int64] | None = None,
) -> Requests:
    """Encodes people's pasts for both stages.

    Args:
        towers: The trained towers.
        past: What they did before the moment of the request.
        users: int[B].
        actions: The data set's actions.
        times: int64[B], the moments in Unix seconds; None when unknown.
    """
    people: NDArray[np.int64] = users.astype(np.int64)
    everything = UserOrder.of(past)
    histories = pad_histories(UserOrder.of(past.take(taste_of(past, actions))), people, actions, times)
    lengths = everything.offsets[people + 1] - everything.offsets[people]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    seen_rows = everything.interactions.rows[np.repeat(everything.offsets[people], lengths) + within]
    return Requests(
        users=people,
        histories=histories,
        user_vectors=encode_users(towers.user_tower, towers.item_vectors, histories.rows, histories.mask),
        context=encode_contexts(times, histories.counts),
        seen=(offsets, seen_rows.astype(np.int32)),
    )


def retrieve(requests: Requests, item_vectors: NDArray[np.float32], count: int) -> CandidateLists:
    """Finds each request's nearest items exactly, without those the person has.

    Args:
        requests: The people.
        item_vectors: float32[N, D].
        count: Candidates per person, at most N.
    """
    count = min(count, len(item_vectors))
    rows = np.full((len(requests), count), -1, np.int32)
    found = np.zeros((len(requests), count), np.float32)
    offsets, seen = requests.seen
    for start in range(0, len(requests), _CHUNK):
        stop = min(start + _CHUNK, len(requests))
        scores = requests.user_vectors[start:stop] @ item_vectors.T
        people = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
        scores[people, seen[offsets[start] : offsets[stop]]] = -np.inf
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        # Rows ascend and the sort is stable, so that ties stand in the order of rows.
        top.sort(axis=1)
        of_top = np.take_along_axis(scores, top, axis=1)
        order = np.argsort(-of_top, axis=1, kind="stable")
        ordered = np.take_along_axis(of_top, order, axis=1)
        missing = np.isneginf(ordered)
        rows[start:stop] = np.where(missing, -1, np.take_along_axis(top, order, axis=1))
        found[start:stop] = np.where(missing, 0, ordered)
    return CandidateLists(rows, found)
