"""The probabilities of several actions as one score.

``score = Σ w_a · p_a / Σ w_a`` over the ranker's actions, with weights of 0 or more: an average of probabilities, so
a score lies within 0..1 whatever the weights are, and only their proportions matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from twostage.errors import InvalidField


def blend_weights(actions: Sequence[str], blend: Mapping[str, float], field: str = "blend") -> NDArray[np.float64]:
    """Arranges and normalises weights.

    Args:
        actions: The A actions, in the order in which the ranker answers them.
        blend: Weights by action, finite and 0 or more, at least one above 0; an action without one has weight 0.
        field: The request's field, for messages.

    Returns:
        float64[A], 0 or more, of sum 1.

    Raises:
        InvalidField: An action is unknown, or a weight is not as above.
    """
    weights = np.zeros(len(actions), np.float64)
    for name, weight in blend.items():
        if name not in actions:
            raise InvalidField(f"{field}[{name[:64]}]", f"one of the actions {', '.join(actions)}", name)
        if not math.isfinite(weight) or weight < 0:
            raise InvalidField(f"{field}[{name}]", "a finite weight of 0 or more", weight)
        weights[actions.index(name)] = weight
    largest = weights.max(initial=0.0)
    if largest <= 0:
        raise InvalidField(field, "at least one weight above 0", dict(blend))
    # By the largest first: the sum of huge weights would overflow, that of tiny ones vanish.
    weights /= largest
    weights /= weights.sum()
    return weights


def blend_scores(action_scores: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blends.

    Args:
        action_scores: float32[N, A].
        weights: float64[A] from :func:`blend_weights`.

    Returns:
        float64[N].
    """
    blended: NDArray[np.float64] = action_scores.astype(np.float64) @ weights
    return blended
