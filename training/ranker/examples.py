"""The ranker's training examples: people's candidates, labelled by what they did next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Exposures, Interactions
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
        item_counts: int64[N], how many interactions each item of the catalogue had before.
        shown: What people were shown and did nothing with: offsets int64[B + 1], as ``next_offsets``, and rows
            int32[S], distinct within a person; None when nobody knows.
    """

    requests: Requests
    candidates: CandidateLists
    next_offsets: NDArray[np.int64]
    next_rows: NDArray[np.int32]
    next_labels: NDArray[np.bool_]
    next_scores: NDArray[np.float32]
    learn_offsets: NDArray[np.int64]
    learnable: NDArray[np.int64]
    item_counts: NDArray[np.int64]
    shown: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None

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
    shown: Exposures | None = None,
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
        shown: What people were shown in vain, none of it after ``following``; nothing when None.
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
        item_counts=np.bincount(past.rows, minlength=item_count),
        shown=None if shown is None else _shown_to(users, shown),
    )


def _shown_to(users: NDArray[np.int64], shown: Exposures) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets and rows of what each of some people was shown.

    Args:
        users: Positions in the data set's user ids, ascending.
        shown: By person.
    """
    inside = np.isin(shown.users, users)
    counts = np.bincount(np.searchsorted(users, shown.users[inside]), minlength=len(users))
    return np.concatenate([[0], np.cumsum(counts)]), shown.rows[inside]
