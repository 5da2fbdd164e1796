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
        learn_offsets: int64[B + 1], as ``next_offsets`` for ``learnable``.
        learnable: int64[L], positions of the next items that are among the person's candidates. Only they are
            learnt from: next to candidates alone, items that retrieval missed would teach that a low retrieval
            score is a good sign.
    """

    requests: Requests
    candidates: CandidateLists
    next_offsets: NDArray[np.int64]
    next_rows: NDArray[np.int32]
    next_labels: NDArray[np.bool_]
    next_scores: NDArray[np.float32]
    learn_offsets: NDArray[np.int64]
    learnable: NDArray[np.int64]

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
    candidates = retrieve(requests, towers.item_vectors, candidate_count)
    # No candidate is -1 and its key below the person's first, which no next item has.
    offered = np.arange(len(users))[:, None] * (item_count + 1) + candidates.rows + 1
    learnable = np.flatnonzero(np.isin(owner * (item_count + 1) + pair_rows + 1, offered))
    learn_counts = np.bincount(owner[learnable], minlength=len(users))
    return Examples(
        requests=requests,
        candidates=candidates,
        learn_offsets=np.concatenate([[0], np.cumsum(learn_counts)]),
        learnable=learnable,
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
    unseen: NDArray[np.bool_],
    config: RankerTraining,
    rng: np.random.Generator,
) -> SampledLists:
    """Draws a list for each of some people.

    Args:
        examples: The examples.
        people: int64[B], positions in the examples.
        item_vectors: float32[N, D], to score random negatives.
        unseen: bool[N], items that nobody had acted on; as negatives they would teach that new items are bad.
        config: How many of what.
        rng: The source of randomness.
    """
    positives = config.positive_count
    chosen, real = _choose_positives(examples, people, positives, rng)
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
    # A sampled negative that the person has, or does next, would teach the opposite.
    weights[:, positives:][_owned(examples, people, rows[:, positives:], len(item_vectors))] = 0.0
    weights[:, positives:][unseen[rows[:, positives:]]] = 0.0
    weights[rows < 0] = 0.0
    return SampledLists(np.maximum(rows, 0).astype(np.int32), scores.astype(np.float32), labels, weights)


def _choose_positives(
    examples: Examples, people: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of up to ``count`` next items per person, int64[B, count], and which of them are real."""
    starts = examples.learn_offsets[people]
    lengths = examples.learn_offsets[people + 1] - starts
    # A random stretch of the person's next items, taken as a ring.
    steps = np.arange(count)
    ring = np.maximum(lengths, 1)
    places = starts[:, None] + (rng.integers(0, ring)[:, None] + steps) % ring[:, None]
    real = steps < lengths[:, None]
    return np.where(real, examples.learnable[np.where(real, places, 0)], 0), real


def _owned(
    examples: Examples, people: NDArray[np.int64], rows: NDArray[np.int32], item_count: int
) -> NDArray[np.bool_]:
    """bool[B, n]: the person has the item, or it is one of their next."""
    keys = []
    for offsets, items in ((examples.next_offsets, examples.next_rows), examples.requests.seen):
        lengths = offsets[people + 1] - offsets[people]
        owner = np.repeat(np.arange(len(people)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        keys.append(owner * item_count + items[np.repeat(offsets[people], lengths) + within])
    asked = np.arange(len(people))[:, None] * item_count + rows
    owned: NDArray[np.bool_] = np.isin(asked, np.concatenate(keys))
    return owned
