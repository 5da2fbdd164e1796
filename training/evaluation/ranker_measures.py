"""What is measured of each ranker beside the lists that it makes, and the table of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from training.evaluation.bootstrap import Estimate
from training.evaluation.reliability import Reliability


@dataclass(frozen=True)
class RankerMeasures:
    """One ranker over its candidates.

    Args:
        fit_seconds: Wall time of its training; None when the generation does not tell.
        candidates: By task, AUC and log loss of the task's action, see measure_candidates.
        calibration: By action, what it said against what people did.
    """

    fit_seconds: float | None = None
    candidates: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    calibration: dict[str, Reliability] = field(default_factory=dict)

    def as_manifest(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "fit_seconds": self.fit_seconds,
            "candidates": estimates_as_manifest(self.candidates),
            "calibration": {action: measured.as_manifest() for action, measured in self.calibration.items()},
        }


def estimates_as_manifest(by_task: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, float | None]]:
    """Means as plain values; an undefined one is None."""
    return {
        task: {name: round(value.mean, 6) if math.isfinite(value.mean) else None for name, value in estimates.items()}
        for task, estimates in by_task.items()
    }


def ranker_tables(rankers: Mapping[str, RankerMeasures]) -> list[Table]:
    """A table per task of how well probabilities tell candidates apart, and one of how far they can be believed.

    Args:
        rankers: What was measured, by ranker.
    """
    answer = []
    for task in dict.fromkeys(task for measures in rankers.values() for task in measures.candidates):
        names = list(dict.fromkeys(name for each in rankers.values() for name in each.candidates.get(task, {})))
        table = Table("ranker", title=f"{task}: over the rankers' candidates", box=SIMPLE_HEAD)
        for name in [*names, "fit s"]:
            table.add_column(name, justify="right")
        for ranker, measures in rankers.items():
            estimates = measures.candidates.get(task, {})
            cells = [_number(estimates[name].mean if name in estimates else None, 4) for name in names]
            table.add_row(ranker, *cells, _number(measures.fit_seconds, 1))
        answer.append(table)
    if any(measures.calibration for measures in rankers.values()):
        table = Table(
            title="calibration over all candidates of people who did something new",
            box=SIMPLE_HEAD,
            caption="ECE in bins of equal mass; said: the mean probability; done: the part that came true",
        )
        table.add_column("ranker")
        table.add_column("action")
        for name in ("ECE", "said", "done"):
            table.add_column(name, justify="right")
        for ranker, measures in rankers.items():
            for action, measured in measures.calibration.items():
                values = (measured.expected_calibration_error, measured.mean_said, measured.mean_done)
                table.add_row(ranker, action, *(_number(value, 5) for value in values))
        answer.append(table)
    return answer


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
