"""Whether the arms got as many people as they should have: if not, something loses people, and no rate can be trusted.

The chi-square test of the counts against the weights (Fabijan et al., Diagnosing sample ratio mismatch in online
controlled experiments, KDD 2019), which is refused below p = 0.001 as is usual there: mismatches are bugs, so that they
are either far from chance or not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

MISMATCH_P = 0.001
"""Below it the counts are not what the weights say."""


@dataclass(frozen=True)
class SampleRatio:
    """How units fell on arms.

    Args:
        counts: The units in each arm.
        expected: As many as the weights say of the units in all.
        p_value: The probability of counts as uneven as these, or more so, by chance.
    """

    counts: Mapping[str, int]
    expected: Mapping[str, float]
    p_value: float

    @property
    def mismatch(self) -> bool:
        """Whether chance is ruled out."""
        return self.p_value < MISMATCH_P


def sample_ratio(counts: Mapping[str, int], weights: Mapping[str, float]) -> SampleRatio:
    """Compares counts with weights.

    Args:
        counts: The units that were seen, by arm; arms without a weight are expected to have none.
        weights: The arms' weights, above 0, at least one.

    Returns:
        The comparison; its p-value is 1 where there is one arm or nobody, and 0 where an arm is seen that has no
        weight.
    """
    total = sum(counts.values())
    weight_sum = sum(weights.values())
    expected = {arm: total * weights.get(arm, 0.0) / weight_sum for arm in {**weights, **counts}}
    seen = {arm: counts.get(arm, 0) for arm in expected}
    if any(seen[arm] and not expected[arm] for arm in expected):
        return SampleRatio(seen, expected, 0.0)
    if total == 0 or len(weights) < 2:
        return SampleRatio(seen, expected, 1.0)
    observed = np.array([seen[arm] for arm in weights], float)
    means = np.array([expected[arm] for arm in weights])
    statistic = float((np.square(observed - means) / means).sum())
    return SampleRatio(seen, expected, float(chdtrc(len(weights) - 1, statistic)))
