"""How well a ranker's probabilities fit what people did with its candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Estimate, bootstrap
from training.evaluation.probabilities import auc, auc_by_list, log_loss, log_loss_by_list


def measure_candidates(
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    present: NDArray[np.bool_] | None = None,
    *,
    resample_count: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """AUC and log loss of one action over each person's candidates.

    Labels of retrieved candidates are ``find_hits(candidate_rows, problem.relevant[users])``.

    Args:
        labels: bool[U, C], what people did.
        probabilities: float[U, C] in [0, 1], what the ranker said.
        present: bool[U, C], False for padding; None when every list is full.
        resample_count: Bootstrap resamples over people; 0 computes no intervals.
        seed: Seed of the bootstrap.

    Returns:
        ``auc`` and ``log_loss`` over all candidates together, without intervals; ``person_auc`` and
        ``person_log_loss``, means over people with 95 % intervals. A person without both a positive and a negative
        candidate has no AUC and is left out of its mean.

    Raises:
        ValueError: The shapes differ, or a present probability is NaN or outside [0, 1].
    """
    by_person = np.stack(
        [auc_by_list(labels, probabilities, present), log_loss_by_list(labels, probabilities, present)], axis=1
    )
    person_auc, person_log_loss = bootstrap(by_person, resample_count=resample_count, seed=seed)
    here = np.ones(labels.shape, dtype=np.bool_) if present is None else present
    return {
        "auc": Estimate(auc(labels[here], probabilities[here])),
        "log_loss": Estimate(log_loss(labels[here], probabilities[here])),
        "person_auc": person_auc,
        "person_log_loss": person_log_loss,
    }
