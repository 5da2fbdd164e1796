"""Whether probabilities mean what they say: what was said against what came true, in bins of equal mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BIN_COUNT = 15
"""Bins unless told otherwise."""

_Z = 1.959964
"""The normal distribution's quantile of a 95 % interval."""


@dataclass(frozen=True)
class Reliability:
    """Probabilities of one action against what people did, in b bins in ascending order.

    Args:
        counts: int64[b], probabilities in a bin, each above 0.
        said: float64[b], their mean.
        done: float64[b], the part of them that came true.
    """

    counts: NDArray[np.int64]
    said: NDArray[np.float64]
    done: NDArray[np.float64]

    @property
    def expected_calibration_error(self) -> float:
        """ECE = Σ_b n_b / n |said_b - done_b|, in [0, 1]; NaN without any probability.

        Naeini et al., *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI 2015; with bins of equal
        mass, for nearly all probabilities of a rare action lie in the first of equally wide ones (Nguyen and O'Connor,
        *Posterior Calibration and Exploratory Analysis for Natural Language Processing Models*, EMNLP 2015).
        """
        if not len(self.counts):
            return float("nan")
        return float(np.sum(self.counts * np.abs(self.said - self.done)) / self.counts.sum())

    @property
    def mean_said(self) -> float:
        """The mean probability; NaN without any."""
        return self._mean(self.said)

    @property
    def mean_done(self) -> float:
        """The part of all that came true; NaN without any."""
        return self._mean(self.done)

    def _mean(self, values: NDArray[np.float64]) -> float:
        return float(np.sum(self.counts * values) / self.counts.sum()) if len(self.counts) else float("nan")

    def intervals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The 95 % intervals of ``done``, float64[b] lower and upper ends.

        E. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, 1927: it stays within [0, 1]
        and is of use where hardly anything came true.
        """
        shrunk = 1 + _Z**2 / self.counts
        centre = (self.done + _Z**2 / (2 * self.counts)) / shrunk
        half = _Z / shrunk * np.sqrt(self.done * (1 - self.done) / self.counts + _Z**2 / (4 * self.counts**2))
        return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)

    def as_manifest(self) -> dict[str, Any]:
        """Plain values for the manifest; an undefined one is None."""
        defined = len(self.counts) > 0
        return {
            "ece": round(self.expected_calibration_error, 6) if defined else None,
            "mean_said": round(self.mean_said, 6) if defined else None,
            "mean_done": round(self.mean_done, 6) if defined else None,
            "bins": [
                {"count": int(count), "said": round(float(said), 6), "done": round(float(done), 6)}
                for count, said, done in zip(self.counts, self.said, self.done, strict=True)
            ],
        }


def measure_reliability(
    labels: NDArray[np.bool_], probabilities: NDArray[np.floating], bin_count: int = BIN_COUNT
) -> Reliability:
    """Puts probabilities into bins of as nearly equal mass as ties allow: equal probabilities share a bin.

    Args:
        labels: bool[n], what came true.
        probabilities: float[n] in [0, 1].
        bin_count: Bins at most, at least 1.

    Raises:
        ValueError: The shapes differ or are not one-dimensional, a probability is NaN or outside [0, 1], or
            ``bin_count`` is below 1.
    """
    if labels.ndim != 1 or labels.shape != probabilities.shape:
        raise ValueError(f"labels, probabilities: expected one shape [n], got {labels.shape}, {probabilities.shape}")
    if bin_count < 1:
        raise ValueError(f"bin_count: expected at least 1, got {bin_count}")
    said = probabilities.astype(np.float64)
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError("probabilities: expected numbers in [0, 1], got others")
    order = np.argsort(said, kind="stable")
    said, done = said[order], labels[order].astype(np.float64)
    count = len(said)
    # Where a bin would begin, moved on to the end of a run of equal probabilities.
    wanted = (np.arange(1, bin_count) * count) // bin_count
    wanted = wanted[wanted > 0]
    starts = np.searchsorted(said, said[wanted - 1], side="right") if count else wanted
    edges = np.unique(np.concatenate([[0], starts, [count]]))
    sizes = np.diff(edges)
    if not count:
        empty = np.zeros(0)
        return Reliability(np.zeros(0, np.int64), empty, empty)
    return Reliability(
        counts=sizes.astype(np.int64),
        said=np.add.reduceat(said, edges[:-1]) / sizes,
        done=np.add.reduceat(done, edges[:-1]) / sizes,
    )
