"""The evaluation problem: what may be learnt, what is asked, of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.data.dataset import Dataset, Interactions, Split, Task
from training.errors import NothingToFind

WARM = "warm"
"""The group of people with at least one training interaction of the task's action."""
COLD = "cold"
"""The group of people without any."""


@dataclass(frozen=True)
class Problem:
    """One task on one split, as matrices over all U people and N items of the data set.

    Args:
        dataset: The data set's name.
        task: What is asked.
        learnable: bool[M], the interactions that may be learnt from, of any action.
        training: The learnable interactions of the task's action, in the data set's order.
        train: CSR float32 [U, N], 1 where ``training`` has the pair.
        excluded: CSR [U, N], pairs that are neither asked for nor offered.
        relevant: CSR [U, N], pairs to be found; all lie on ``target_items``.
        target_items: bool[N], the items that are asked for: those known in training, or the cold ones.
        groups: int32 positions of the people asked, by group; disjoint, none empty.
        left_out_count: How many held-out pairs are not asked for because their item is not a target.
        people_count: How many people could be asked, before sampling, by group.
    """

    dataset: str
    task: Task
    learnable: NDArray[np.bool_]
    training: Interactions
    train: csr_array
    excluded: csr_array
    relevant: csr_array
    target_items: NDArray[np.bool_]
    groups: dict[str, NDArray[np.int32]]
    left_out_count: int
    people_count: dict[str, int]

    @property
    def item_count(self) -> int:
        """N, the size of the catalogue."""
        return int(self.train.shape[1])

    @property
    def training_counts(self) -> NDArray[np.int64]:
        """int64[N], how many people did the task's action with each item in training."""
        return np.bincount(self.train.indices, minlength=self.item_count)


def pose(dataset: Dataset, split: Split, task: Task, *, user_limit: int | None = None, seed: int = 0) -> Problem:
    """Poses a task on a split: train is everything that is not test, and known items are asked for.

    Relevant are the test pairs of the task's action whose item occurs in training with that action; items that do not
    are cold items, a problem of their own (:func:`pose_cold`). With ``task.new_items_only``, pairs that are in
    training as well are not relevant, and each person's training items are excluded from the lists.

    Args:
        dataset: What people did.
        split: Its masks.
        task: What is asked.
        user_limit: The most people per group; above it, a sample by :func:`sample_users`. None asks everybody.
        seed: Seed of the sample.

    Returns:
        The problem, with the groups ``warm`` and ``cold`` where they have anybody.

    Raises:
        KeyError: The task's action is not in the data set's schema.
        ValueError: A mask's length is not the number of interactions.
        NothingToFind: Nothing is left to find.
    """
    return _problem(
        dataset,
        task,
        learnable=~split.test,
        held_out=split.test,
        done=_of_action(dataset, split.test, task),
        targets=None,
        user_limit=user_limit,
        seed=seed,
    )


def pose_cold(
    dataset: Dataset,
    split: Split,
    task: Task,
    cold_items: NDArray[np.bool_],
    *,
    user_limit: int | None = None,
    seed: int = 0,
) -> Problem:
    """Poses the search for cold items: nothing of them may be learnt but their content.

    Train is everything that is not test and touches no cold item. Relevant are all pairs of the task's action with
    cold items, whatever part of the split they fell into; they are searched among *all* items.

    Args:
        dataset: What people did.
        split: Its masks.
        task: What is asked.
        cold_items: bool[N], the items held out whole.
        user_limit: The most people per group, as in :func:`pose`.
        seed: Seed of the sample.

    Returns:
        The problem; a model for it may learn from ``problem.learnable`` alone.

    Raises:
        KeyError: The task's action is not in the data set's schema.
        ValueError: A mask has the wrong length.
        NothingToFind: Nobody did anything with a cold item.
    """
    item_count = len(dataset.catalogue)
    if cold_items.shape != (item_count,):
        raise ValueError(f"cold_items: expected a mask of {item_count} items, got shape {cold_items.shape}")
    done = _of_action(dataset, split.test, task)
    touches_cold = cold_items[dataset.interactions.rows]
    return _problem(
        dataset,
        task,
        learnable=~split.test & ~touches_cold,
        held_out=touches_cold,
        done=done,
        targets=cold_items,
        user_limit=user_limit,
        seed=seed,
    )


def sample_users(
    user_ids: Sequence[str], users: NDArray[np.integer], limit: int | None, seed: int = 0
) -> NDArray[np.int32]:
    """Draws at most ``limit`` people: the first of ``default_rng(seed).permutation`` of their ids sorted as text.

    A sample is only reproducible together with the order it is drawn from; this one depends on the ids alone, not on
    the order of the source's rows. At 5,000 people a hit rate near one half has a standard error of .007.

    Args:
        user_ids: All U ids.
        users: int[B], positions in ``user_ids``.
        limit: The most people; None or a number not below B keeps all.
        seed: Seed of the draw.

    Returns:
        int32[min(B, limit)], sorted by id as text.

    Raises:
        ValueError: ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"user_limit: expected at least 1, got {limit}")
    ordered = np.array(sorted(users.tolist(), key=lambda user: user_ids[user]), dtype=np.int32)
    if limit is None or len(ordered) <= limit:
        return ordered
    drawn = np.random.default_rng(seed).permutation(len(ordered))[:limit]
    return ordered[np.sort(drawn)]


def _problem(
    dataset: Dataset,
    task: Task,
    *,
    learnable: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    done: NDArray[np.bool_],
    targets: NDArray[np.bool_] | None,
    user_limit: int | None,
    seed: int,
) -> Problem:
    train = _pairs(dataset, done & learnable)
    if targets is None:
        targets = np.bincount(train.indices, minlength=train.shape[1]) > 0
    asked = _pairs(dataset, done & held_out).tocoo()
    keep = np.ones(asked.nnz, dtype=np.bool_)
    if task.new_items_only:
        keep &= ~_contains(train, asked.row, asked.col)
    wanted = keep & targets[asked.col]
    relevant = csr_array((asked.data[wanted], (asked.row[wanted], asked.col[wanted])), shape=train.shape)
    with_relevant = np.diff(relevant.indptr) > 0
    with_history = np.diff(train.indptr) > 0
    pools = {
        WARM: np.flatnonzero(with_relevant & with_history),
        COLD: np.flatnonzero(with_relevant & ~with_history),
    }
    if not with_relevant.any():
        raise NothingToFind(
            f"task {task.name!r}: expected held-out interactions of action {task.action!r} with known items, got none"
        )
    user_ids = dataset.interactions.user_ids
    return Problem(
        dataset=dataset.name,
        task=task,
        learnable=learnable,
        training=dataset.interactions.take(done & learnable),
        train=train,
        excluded=train if task.new_items_only else csr_array(train.shape, dtype=np.float32),
        relevant=relevant,
        target_items=targets,
        groups={name: sample_users(user_ids, pool, user_limit, seed) for name, pool in pools.items() if len(pool)},
        left_out_count=int((keep & ~targets[asked.col]).sum()),
        people_count={name: len(pool) for name, pool in pools.items() if len(pool)},
    )


def _of_action(dataset: Dataset, test: NDArray[np.bool_], task: Task) -> NDArray[np.bool_]:
    interactions = dataset.interactions
    if test.shape != (len(interactions),):
        raise ValueError(f"split.test: expected a mask of {len(interactions)} interactions, got shape {test.shape}")
    return dataset.actions.label(task.action, interactions.recorded, interactions.actions, interactions.values)


def _pairs(dataset: Dataset, mask: NDArray[np.bool_]) -> csr_array:
    interactions = dataset.interactions
    shape = (len(interactions.user_ids), len(dataset.catalogue))
    users, rows = interactions.users[mask], interactions.rows[mask]
    pairs = csr_array((np.ones(len(users), dtype=np.float32), (users, rows)), shape=shape)
    pairs.sum_duplicates()
    pairs.data[:] = 1.0
    return pairs


def _contains(pairs: csr_array, users: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    item_count = pairs.shape[1]
    owners = np.repeat(np.arange(pairs.shape[0], dtype=np.int64), np.diff(pairs.indptr))
    present: NDArray[np.bool_] = np.isin(
        users.astype(np.int64) * item_count + rows, owners * item_count + pairs.indices
    )
    return present
