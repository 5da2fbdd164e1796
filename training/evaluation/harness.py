"""Asks every model for full rankings on one problem and measures them alike."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.evaluation.bootstrap import Estimate, bootstrap
from training.evaluation.metrics import average_precision, find_hits, hit_rate, ndcg, recall, reciprocal_rank
from training.evaluation.problem import Problem
from training.evaluation.recommender import Fitted, Recommender
from training.evaluation.variety import catalogue_coverage, intra_list_diversity, novelty

_ACCURACY = {
    "recall": recall,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "hit_rate": hit_rate,
}
DEFAULT_KS = (10, 20, 100)
"""The list lengths measured: a page, a long page, what retrieval hands on."""


@dataclass(frozen=True)
class Result:
    """One model on one group of people.

    Args:
        dataset: The data set's name.
        task: The task's name.
        model: The model's name.
        group: ``warm`` or ``cold`` people.
        people_count: How many people were asked.
        metrics: ``<metric>@<k>`` to its mean and interval.
        fit_seconds: Wall time of training, None when it was not told.
        recommend_ms: Mean wall time of one person's list in milliseconds, in batches, with what was shared with other
            models; None for a computed reference.
        by_person: float64[people_count] per metric that has a value for each person, in the problem's order.
    """

    dataset: str
    task: str
    model: str
    group: str
    people_count: int
    metrics: dict[str, Estimate]
    fit_seconds: float | None = None
    recommend_ms: float | None = None
    by_person: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)


def evaluate(
    recommenders: Iterable[Recommender | Fitted],
    problem: Problem,
    *,
    ks: Sequence[int] = DEFAULT_KS,
    item_vectors: NDArray[np.floating] | csr_array | None = None,
    resample_count: int = 1000,
    seed: int = 0,
) -> list[Result]:
    """Measures models over full rankings of the catalogue.

    Per list length k: recall, ndcg, mrr, map, hit_rate, novelty, coverage, and diversity when there are item vectors.
    Every mean over people has a 95 % bootstrap interval; coverage, which is one number for all, has none.

    Args:
        recommenders: Fitted models; an iterator may fit each as it is asked for.
        problem: What is asked of whom.
        ks: List lengths, each at least 1; a k beyond the catalogue is measured on the whole of it.
        item_vectors: [N, D] vectors by which variety is judged, e.g. :func:`content_vectors`; None leaves it out.
        resample_count: Bootstrap resamples; 0 computes no intervals.
        seed: Seed of the bootstrap.

    Returns:
        A result per model and group, models in the order given, ``warm`` before ``cold``.

    Raises:
        ValueError: ``ks`` is empty or holds a number below 1, two models have one name, or a model's lists are not what
            :class:`Recommender` promises; the message names the model.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"ks: expected list lengths of at least 1, got {list(ks)}")
    lengths = sorted(set(ks))
    results: list[Result] = []
    seen: set[str] = set()
    for entry in recommenders:
        fitted = entry if isinstance(entry, Fitted) else Fitted(entry, None)
        recommender = fitted.recommender
        if recommender.name in seen:
            raise ValueError(f"recommenders: expected distinct names, got {recommender.name!r} twice")
        seen.add(recommender.name)
        for group, users in problem.groups.items():
            start = time.perf_counter()
            ranked = recommender.recommend(users, lengths[-1])
            seconds = time.perf_counter() - start
            check_lists(recommender.name, ranked, problem, users, lengths[-1])
            by_person = measure(ranked, problem, users, lengths, item_vectors)
            estimates = bootstrap(np.stack(list(by_person.values()), axis=1), resample_count=resample_count, seed=seed)
            metrics = dict(zip(by_person, estimates, strict=True))
            for k in lengths:
                metrics[f"coverage@{k}"] = Estimate(catalogue_coverage(ranked, problem.item_count, k))
            results.append(
                Result(
                    dataset=problem.dataset,
                    task=problem.task.name,
                    model=recommender.name,
                    group=group,
                    people_count=len(users),
                    metrics=metrics,
                    fit_seconds=fitted.fit_seconds,
                    recommend_ms=1000 * seconds / len(users) + fitted.shared_ms,
                    by_person=by_person,
                )
            )
    return results


def measure(
    ranked: NDArray[np.int32],
    problem: Problem,
    users: NDArray[np.int32],
    ks: Sequence[int],
    item_vectors: NDArray[np.floating] | csr_array | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Every metric that has a value for each person.

    Args:
        ranked: int32[B, K] with K at least the largest k; rows best first, -1 for padding.
        problem: What is relevant, and how popular items are.
        users: int32[B], whose lists they are.
        ks: List lengths.
        item_vectors: [N, D] or None.

    Returns:
        ``<metric>@<k>`` to float64[B].
    """
    relevant = problem.relevant[users]
    relevant_counts = np.diff(relevant.indptr)
    hits = find_hits(ranked, relevant)
    counts = problem.training_counts
    trained = int((np.diff(problem.train.indptr) > 0).sum())
    values: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        for name, metric in _ACCURACY.items():
            values[f"{name}@{k}"] = metric(hits, relevant_counts, k)
        values[f"novelty@{k}"] = novelty(ranked, counts, trained, k)
        if item_vectors is not None:
            values[f"diversity@{k}"] = intra_list_diversity(ranked, item_vectors, k)
    return values


def check_lists(name: str, ranked: NDArray[np.int32], problem: Problem, users: NDArray[np.int32], k: int) -> None:
    """Refuses lists that would be measured wrongly: a repeated hit counts twice, a seen item wastes a place.

    Args:
        name: The model's name, for the message.
        ranked: What it answered.
        problem: What it was asked.
        users: int32[B], of whom.
        k: How many it was asked for.

    Raises:
        ValueError: The shape or dtype is wrong, a row is out of range, repeated or excluded, or padding is not last.
    """
    if ranked.shape != (len(users), k) or not np.issubdtype(ranked.dtype, np.integer):
        raise ValueError(
            f"{name}: expected lists of shape {(len(users), k)} and integer rows, got {ranked.shape} of {ranked.dtype}"
        )
    if ranked.min(initial=0) < -1 or ranked.max(initial=-1) >= problem.item_count:
        raise ValueError(
            f"{name}: expected rows from -1 to {problem.item_count - 1}, got {ranked.min()} to {ranked.max()}"
        )
    shown = ranked >= 0
    if (shown[:, 1:] & ~shown[:, :-1]).any():
        raise ValueError(f"{name}: expected padding (-1) only at the end of a list")
    ordered = np.sort(ranked, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError(f"{name}: expected no row twice in a list")
    excluded = find_hits(ranked, problem.excluded[users])
    if excluded.any():
        person, place = np.argwhere(excluded)[0]
        raise ValueError(
            f"{name}: expected no excluded item, got row {ranked[person, place]} for user position {users[person]}"
        )
