"""The Open Bandit Dataset's small edition: real impressions with true propensities, to try estimators on.

Saito, Aihara, Matsutani and Narita, Open Bandit Dataset and Pipeline, NeurIPS Datasets and Benchmarks 2021. The fashion
shop's three recommended places were filled by a uniformly random policy for some visitors and by Bernoulli Thompson
sampling for others, in the same days.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError
from training.experiments.off_policy import (
    OffPolicyEstimate,
    Shown,
    cross_fitted_means,
    doubly_robust,
    ips,
    snips,
)

POLICIES = ("random", "bts")
"""Uniformly random; Bernoulli Thompson sampling."""
CAMPAIGNS = ("men", "women")

_FOLD_COUNT = 5


@dataclass(frozen=True)
class BanditLog:
    """One policy's impressions in one campaign, as parallel arrays of length N.

    Args:
        items: int64[N], 0..item_count - 1.
        positions: int64[N], 0..2.
        clicks: float64[N], 0 or 1.
        propensities: float64[N], the policy's probability of the item at its position, above 0.
    """

    items: NDArray[np.int64]
    positions: NDArray[np.int64]
    clicks: NDArray[np.float64]
    propensities: NDArray[np.float64]

    @property
    def item_count(self) -> int:
        """How many items the campaign has; every item occurs."""
        return int(self.items.max()) + 1

    def cells(self) -> NDArray[np.int64]:
        """int64[N], an item at a position as one number."""
        return self.positions * self.item_count + self.items


def read_bandit_log(folder: Path, policy: str, campaign: str) -> BanditLog:
    """Reads ``<folder>/<policy>/<campaign>.csv.gz``.

    Raises:
        DataError: It is not there, or not what it should be.
    """
    path = folder / policy / f"{campaign}.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = [
                (int(row["item_id"]), int(row["position"]) - 1, float(row["click"]), float(row["propensity_score"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(path.name, None, None, f"expected impressions of the Open Bandit Dataset: {error!r}") from error
    if not rows:
        raise DataError(path.name, None, None, "expected impressions, found none")
    items, positions, clicks, propensities = zip(*rows, strict=True)
    return BanditLog(
        np.array(items, np.int64),
        np.array(positions, np.int64),
        np.array(clicks, np.float64),
        np.array(propensities, np.float64),
    )


def uniform_policy(log: BanditLog) -> NDArray[np.float64]:
    """float64[3, I], the random policy's probabilities."""
    return np.full((int(log.positions.max()) + 1, log.item_count), 1 / log.item_count)


def observed_policy(log: BanditLog) -> NDArray[np.float64]:
    """float64[3, I], how often a policy showed each item at each position: its choice for a visitor of all."""
    shape = (int(log.positions.max()) + 1, log.item_count)
    counts = np.bincount(log.cells(), minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def estimate_policy(
    log: BanditLog, policy: NDArray[np.float64], *, clip: float | None = None
) -> list[OffPolicyEstimate]:
    """Estimates a policy's click rate from another one's log: IPS, SNIPS and DR.

    The reward model is the click rate of each item at each position, drawn to the mean.

    Args:
        log: Of the other policy.
        policy: float64[3, I], the policy's probabilities.
        clip: Bounds the weights, None for none.
    """
    shown = Shown(log.clicks, policy[log.positions, log.items] / log.propensities)
    cells = log.cells()
    folds = np.arange(len(cells)) % _FOLD_COUNT
    model = cross_fitted_means(log.clicks, cells, policy.size, fold_of=folds)
    guesses = np.einsum("pi,fpi->fp", policy, model.reshape(_FOLD_COUNT, *policy.shape))
    return [
        ips(shown, clip=clip),
        snips(shown, clip=clip),
        doubly_robust(shown, model[folds, cells], guesses[folds, log.positions], clip=clip),
    ]
