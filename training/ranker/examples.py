"""The ranker's training examples: people's candidates, labelled by what they did next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import RankerTraining
from training.data.dataset import Interactions
from training.ranker.candidates import CandidateLists, Requests, make_requests, retrieve
from training.towers.fit import Towers
from twostage.features.actions import ActionSchema


@dataclass(frozen=True)
class Examples:
    """Requests, the candidates that retrieval offers for them, and what the people did next.

    Args:
        requests: The people.
        candidates: Their candidates.
        next_offsets: int64[B + 1]; person b's next items are ``next_offsets[b]:next_offsets[b + 1]``.
        next_rows: int32[P], distinct within a person and new to them.
        next_labels: bool[P, A], which actions were done with the item.
        next_scores: float32[P], the items' retrieval scores.
    """

    requests: Requests
    candidates: CandidateLists
    next_offsets: NDArray[np.int64]
    next_rows: NDArray[np.int32]
    next_labels: NDArray[np.bool_]
    next_scores: NDArray[np.float32]

    def labels_of(self, person: int, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """bool[len(rows), A]: what the person did next with each of these items."""
        part = slice(int(self.next_offsets[person]), int(self.next_offsets[person + 1]))
        matches = rows[:, None] == self.next_rows[part][None, :]
        labels: NDArray[np.bool_] = (matches[:, :, None] & self.next_labels[part][None]).any(axis=1)
        return labels


def make_examples(
    towers: Towers,
    past: Interactions,
    following: Interactions,
    actions: ActionSchema,
    candidate_count: int,
    user_count: int,
    seed: int,
) -> Examples:
    """Makes an example of each person who did something new in ``following``.

    The towers and the items' statistics have not seen ``following``, so that scores and statistics mean here what
    they will mean when serving.

    Args:
        towers: Towers trained on ``past``.
        past: The training part of the split.
        following: The validation part.
        actions: The data set's actions.
        candidate_count: Candidates per person.
        user_count: People at most.
        seed: Seeds their choice.
    """
    item_count = len(towers.item_vectors)
    keys = following.users.astype(np.int64) * item_count + following.rows
    known = np.isin(keys, past.users.astype(np.int64) * item_count + past.rows)
    following, keys = following.take(~known), keys[~known]
    users = np.random.default_rng(seed).permutation(np.unique(following.users))[:user_count]
    users.sort()
    inside = np.isin(following.users, users)
    following, keys = following.take(inside), keys[inside]
    pairs, of_row = np.unique(keys, return_inverse=True)
    labels = np.zeros((len(pairs), len(actions.actions)), np.bool_)
    for column, action in enumerate(actions.actions):
        done = actions.label(action.name, following.recorded, following.actions, following.values)
        labels[of_row[done], column] = True
    pair_users, pair_rows = pairs // item_count, (pairs % item_count).astype(np.int32)
    counts = np.bincount(np.searchsorted(users, pair_users), minlength=len(users))
    times = None
    if following.times is not None:
        times = np.full(len(users), np.iinfo(np.int64).max)
        np.minimum.at(times, np.searchsorted(users, following.users), following.times)
    requests = make_requests(towers, past, users, actions, times)
    owner = np.repeat(np.arange(len(users)), counts)
    scores = np.einsum("pd,pd->p", requests.user_vectors[owner], towers.item_vectors[pair_rows])
    return Examples(
        requests=requests,
        candidates=retrieve(requests, towers.item_vectors, candidate_count),
        next_offsets=np.concatenate([[0], np.cumsum(counts)]),
        next_rows=pair_rows,
        next_labels=labels,
        next_scores=scores.astype(np.float32),
    )


@dataclass(frozen=True)
class SampledLists:
    """Short lists to train on: a person's next items first, then sampled negatives.

    Args:
        rows: int32[B, n].
        scores: float32[B, n], retrieval scores.
        labels: float32[B, n, A].
        weights: float32[B, n], how many items an entry stands for; 0 where it is padding or a negative that is none.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]


def sample_lists(
    examples: Examples,
    people: NDArray[np.int64],
    item_vectors: NDArray[np.float32],
    config: RankerTraining,
    rng: np.random.Generator,
) -> SampledLists:
    """Draws a list for each of some people.

    Args:
        examples: The examples.
        people: int64[B], positions in the examples.
        item_vectors: float32[N, D], to score random negatives.
        config: How many of what.
        rng: The source of randomness.
    """
    positives = config.positive_count
    starts = examples.next_offsets[people]
    lengths = examples.next_offsets[people + 1] - starts
    # A random stretch of the person's next items, taken as a ring.
    steps = np.arange(positives)
    shift = rng.integers(0, np.maximum(lengths, 1))
    chosen = starts[:, None] + (shift[:, None] + steps) % np.maximum(lengths, 1)[:, None]
    real = steps < lengths[:, None]
    offered = examples.candidates.rows.shape[1]
    places = rng.integers(0, offered, (len(people), config.negative_count))
    near_rows = examples.candidates.rows[people[:, None], places]
    near_scores = examples.candidates.scores[people[:, None], places]
    far_rows = rng.integers(0, len(item_vectors), (len(people), config.random_negative_count)).astype(np.int32)
    far_scores = np.einsum("bnd,bd->bn", item_vectors[far_rows], examples.requests.user_vectors[people])
    rows = np.concatenate([examples.next_rows[chosen], near_rows, far_rows], axis=1)
    scores = np.concatenate([examples.next_scores[chosen], near_scores, far_scores], axis=1)
    labels = np.zeros((*rows.shape, examples.next_labels.shape[1]), np.float32)
    labels[:, :positives] = examples.next_labels[chosen] * real[:, :, None]
    weights = np.ones(rows.shape, np.float32)
    weights[:, :positives] = real
    weights[:, positives : positives + config.negative_count] = max(offered / max(config.negative_count, 1), 1.0)
    # A sampled negative that is one of the person's next items would teach the opposite.
    longest = int(lengths.max(initial=0))
    ring = np.arange(longest)
    own = np.where(ring < lengths[:, None], examples.next_rows[np.minimum(starts[:, None] + ring, starts[:, None] + np.maximum(lengths - 1, 0)[:, None])], -2)
    for column in range(longest):
        weights[:, positives:][rows[:, positives:] == own[:, column, None]] = 0.0
    weights[rows < 0] = 0.0
    return SampledLists(np.maximum(rows, 0).astype(np.int32), scores.astype(np.float32), labels, weights)
