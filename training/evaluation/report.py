"""Results as tables for people and as plain values for the manifest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from training.evaluation.bootstrap import Estimate
from training.evaluation.harness import Result
from training.evaluation.sources import SourceRecall

TABLE_METRICS = (
    "recall@20",
    "recall@100",
    "ndcg@10",
    "mrr@100",
    "map@20",
    "hit_rate@10",
    "coverage@20",
    "novelty@20",
    "diversity@20",
)
"""The columns of a table, left out where no result has them."""


def tables(results: Iterable[Result], metrics: Sequence[str] = TABLE_METRICS, *, note: str = "") -> list[Table]:
    """One table per data set, task and group of people, models as rows in the order of the results.

    Args:
        results: What was measured.
        metrics: Columns wanted.
        note: Added to the titles, e.g. ``cold items``.

    Returns:
        Tables for rich; each cell holds the mean and half the width of the interval.
    """
    grouped: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        grouped.setdefault((result.dataset, result.task, result.group), []).append(result)
    answer = []
    for (dataset, task, group), rows in grouped.items():
        suffix = f", {note}" if note else ""
        table = Table(
            title=f"{dataset}, {task}: {rows[0].people_count:,} {group} people{suffix}",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            caption="full ranking of the catalogue; ± half of the 95 % bootstrap interval over people",
        )
        shown = [metric for metric in metrics if any(metric in row.metrics for row in rows)]
        table.add_column("model", no_wrap=True)
        for metric in shown:
            table.add_column(metric.replace("@", "\n@"), justify="right", no_wrap=True)
        table.add_column("fit\ns", justify="right")
        table.add_column("ms per\nperson", justify="right")
        for row in rows:
            cells = [_cell(row.metrics.get(metric)) for metric in shown]
            table.add_row(row.model, *cells, _number(row.fit_seconds, 1), _number(row.recommend_ms, 2))
        answer.append(table)
    return answer


def as_manifest(results: Iterable[Result]) -> list[dict[str, object]]:
    """Results as plain values that ``json.dumps(..., allow_nan=False)`` takes; an undefined mean is None.

    Args:
        results: What was measured.

    Returns:
        A dictionary per result: dataset, task, model, group, people_count, fit_seconds, recommend_ms, and metrics as
        ``<metric>@<k>`` to mean, low and high.
    """
    return [
        {
            "dataset": result.dataset,
            "task": result.task,
            "model": result.model,
            "group": result.group,
            "people_count": result.people_count,
            "fit_seconds": result.fit_seconds,
            "recommend_ms": result.recommend_ms,
            "metrics": {
                name: {"mean": _finite(value.mean), "low": value.low, "high": value.high}
                for name, value in result.metrics.items()
            },
        }
        for result in results
    ]


def source_tables(sources: Iterable[SourceRecall]) -> list[Table]:
    """One table per task: sources as rows, for each group the recall and the part of the default mix.

    Args:
        sources: What was measured.
    """
    by_task: dict[str, list[SourceRecall]] = {}
    for entry in sources:
        by_task.setdefault(entry.task, []).append(entry)
    answer = []
    for task, entries in by_task.items():
        groups = {entry.group: entry for entry in entries}
        table = Table(
            title=f"{task}: recall@{entries[0].candidate_count} of each source alone",
            box=SIMPLE_HEAD,
            caption="and, in brackets, the part of the default mix that it brings",
        )
        table.add_column("source", no_wrap=True)
        for group, entry in groups.items():
            table.add_column(f"{entry.people_count:,}\n{group}", justify="right", no_wrap=True)
        for source in dict.fromkeys(entry.source for entry in entries):
            found = {entry.group: entry for entry in entries if entry.source == source}
            table.add_row(source, *(_source_cell(found.get(group)) for group in groups))
        answer.append(table)
    return answer


def sources_as_manifest(sources: Iterable[SourceRecall]) -> list[dict[str, object]]:
    """Recall by source as plain values that ``json.dumps(..., allow_nan=False)`` takes."""
    return [
        {
            "task": entry.task,
            "group": entry.group,
            "source": entry.source,
            "people_count": entry.people_count,
            "candidate_count": entry.candidate_count,
            "recall": {"mean": _finite(entry.recall.mean), "low": entry.recall.low, "high": entry.recall.high},
            "part": entry.part,
        }
        for entry in sources
    ]


def _source_cell(entry: SourceRecall | None) -> str:
    return "-" if entry is None else f"{_cell(entry.recall)} ({entry.part:.2f})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or not math.isfinite(estimate.mean):
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} ±{(estimate.high - estimate.low) / 2:.3f}".replace("±0.", "±.")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
