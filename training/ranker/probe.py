"""How well an order of candidates ranks what people did next."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import ndcg
from training.ranker.examples import Examples

PROBE_K = 10
"""The k of the NDCG."""


def probe_order(
    examples: Examples, people: NDArray[np.int64], logits: NDArray[np.floating] | None, columns: list[int]
) -> list[float]:
    """NDCG@10 of each action's logits, over the people who did that action next.

    Args:
        examples: Candidates and what people did next.
        people: int64[B], positions in the examples.
        logits: float[B, n, A] of their candidates; None measures the retrieval order.
        columns: The actions, as positions among A.

    Returns:
        One mean per column; NaN where none of them did that action next.
    """
    rows = examples.candidates.rows[people]
    means = []
    for column in columns:
        hits, counts = [], []
        for position, person in enumerate(people):
            part = slice(int(examples.next_offsets[person]), int(examples.next_offsets[person + 1]))
            relevant = examples.next_rows[part][examples.next_labels[part, column]]
            if len(relevant) == 0:
                continue
            order = rows[position]
            if logits is not None:
                order = order[np.argsort(np.where(order < 0, np.inf, -logits[position, :, column]), kind="stable")]
            hits.append(np.isin(order[:PROBE_K], relevant))
            counts.append(len(relevant))
        means.append(float(ndcg(np.array(hits), np.array(counts), PROBE_K).mean()) if hits else float("nan"))
    return means


def mean_score(scores: list[float]) -> float:
    """The mean of the actions' measures, without those that nobody did; NaN when nobody did any."""
    known = [score for score in scores if not math.isnan(score)]
    return sum(known) / len(known) if known else float("nan")
