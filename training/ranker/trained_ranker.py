"""A ranker after training, and what is to be told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.errors import RankerNotFinite
from training.ranker.families.ranker import Ranker
from training.ranker.probe import PROBE_K


@dataclass(frozen=True)
class TrainedRanker:
    """A trained ranker.

    Args:
        name: Its name in the bundle, which is its family's.
        model: The ranker, calibrated.
        best_score: Its mean NDCG@10 over taste actions on people it did not train on; NaN when there were none.
        retrieval_score: The same measure of the retrieval order.
        epoch_count: Epochs trained.
        best_epoch: The epoch that was kept; 0 when that is the untrained ranker.
        probe_count: How many people the measures are of; the fewer, the more they owe to chance.
        seconds: Wall time of training, measuring and calibrating.
        loss: The name of the loss.
        learning_rate: The learning rate at the start.
    """

    name: str
    model: Ranker
    best_score: float
    retrieval_score: float
    epoch_count: int
    best_epoch: int
    probe_count: int
    seconds: float = 0.0
    loss: str = "mixed"
    learning_rate: float = 0.0

    def notes(self) -> list[str]:
        """What was kept, and a warning when no ranker would have done better; a line each."""
        if math.isnan(self.best_score):
            return [f"kept epoch {self.best_epoch}, the last: too few people to measure any on"]
        lines = [f"kept epoch {self.best_epoch}"]
        if self.best_epoch == 0:
            start = "the first guess" if self.model.has_first_guess else "what the ranker started from"
            lines = [f"kept epoch 0: training did not improve on {start}, which is published as it is"]
        if self.best_score < self.retrieval_score:
            lines.append(
                f"warning: on {self.probe_count:,} people the ranker orders candidates worse than retrieval does: "
                f"NDCG@{PROBE_K} {self.best_score:.4f} against {self.retrieval_score:.4f}"
            )
        return lines

    def check_finite(self) -> None:
        """Refuses a model that must not be published.

        Raises:
            RankerNotFinite: A weight is NaN or infinite.
        """
        for variable in self.model.variables:
            values = variable.numpy()
            if not np.isfinite(values).all():
                count = int((~np.isfinite(values)).sum())
                raise RankerNotFinite(
                    f"ranker {self.name}: expected finite weights, got {count} that are NaN or infinite in "
                    f"{variable.path}"
                )

    def as_manifest(self) -> dict[str, Any]:
        """What the manifest says of it, plain values; an unknown measure is None."""
        return {
            "epoch_count": self.epoch_count,
            "best_epoch": self.best_epoch,
            "ndcg": _known(self.best_score),
            "retrieval_ndcg": _known(self.retrieval_score),
            "seconds": round(self.seconds, 2),
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "weight_count": int(self.model.count_params()),
        }


def _known(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(float(value), 6) if math.isfinite(value) else None
