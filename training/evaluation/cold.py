"""Cold items: found among all items by what they are, for nobody has acted on them yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import hypergeom

from training.evaluation.bootstrap import Estimate
from training.evaluation.harness import DEFAULT_KS, Result, evaluate
from training.evaluation.problem import Problem
from training.evaluation.recommender import Fitted, Recommender


def evaluate_cold(
    recommenders: Iterable[Recommender | Fitted],
    problem: Problem,
    *,
    ks: Sequence[int] = DEFAULT_KS,
    item_vectors: NDArray[np.floating] | csr_array | None = None,
    resample_count: int = 1000,
    seed: int = 0,
) -> list[Result]:
    """Measures how well cold items are found, beside what chance would find.

    Only cold items are relevant, all items compete, and each person's training items are excluded. A model without
    content features finds none, save by chance.

    Args:
        recommenders: Models fitted on ``problem.learnable`` alone.
        problem: A problem of :func:`training.evaluation.problem.pose_cold`.
        ks: List lengths.
        item_vectors: As in :func:`evaluate`.
        resample_count: As in :func:`evaluate`.
        seed: As in :func:`evaluate`.

    Returns:
        The results of :func:`evaluate`, preceded by the model ``random`` for each group.

    Raises:
        ValueError: A target item occurs in training, so it is not cold; or as :func:`evaluate`.
    """
    known = int((problem.training_counts[problem.target_items] > 0).sum())
    if known:
        raise ValueError(f"problem: expected cold items without training interactions, got {known} that have some")
    expected = [_random(problem, group, users, sorted(set(ks))) for group, users in problem.groups.items()]
    measured = evaluate(
        recommenders, problem, ks=ks, item_vectors=item_vectors, resample_count=resample_count, seed=seed
    )
    return expected + measured


def random_expectation(relevant_counts: NDArray[np.integer], item_count: int, k: int) -> dict[str, float]:
    """What a random order of the whole catalogue scores on average.

    Each place holds one of R relevant items with probability R / N, so recall@k is k·R / N / min(k, R), which is k / N
    as long as R ≤ k; NDCG@k sums the discounts times R / N; HR@k = 1 - C(N - R, k) / C(N, k).

    Args:
        relevant_counts: int[U], R of each person, at least 1.
        item_count: N.
        k: Length of the list, cut at N.

    Returns:
        ``recall@k``, ``ndcg@k`` and ``hit_rate@k``, means over people.
    """
    length = min(k, item_count)
    share = relevant_counts / item_count
    discounts = np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))
    possible = np.minimum(relevant_counts, k)
    return {
        f"recall@{k}": float(np.mean(length * share / possible)),
        f"ndcg@{k}": float(np.mean(share * discounts[length - 1] / discounts[possible - 1])),
        f"hit_rate@{k}": float(np.mean(1.0 - hypergeom.pmf(0, item_count, relevant_counts, length))),
    }


def _random(problem: Problem, group: str, users: NDArray[np.int32], ks: Sequence[int]) -> Result:
    relevant_counts = np.diff(problem.relevant[users].indptr)
    metrics = {
        name: Estimate(value)
        for k in ks
        for name, value in random_expectation(relevant_counts, problem.item_count, k).items()
    }
    return Result(problem.dataset, problem.task.name, "random", group, len(users), metrics)
