"""The offline evaluation of a generation: every task, stage by stage, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.data.dataset import Dataset, Split
from training.evaluation.baselines.item_knn import ItemKnn
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.baselines.suite import fit_baselines
from training.evaluation.bootstrap import Estimate
from training.evaluation.candidates import measure_candidates
from training.evaluation.cold import evaluate_cold
from training.evaluation.harness import Result, evaluate
from training.evaluation.item_vectors import content_vectors
from training.evaluation.metrics import find_hits
from training.evaluation.problem import Problem, pose, pose_cold
from training.evaluation.recommender import Fitted, Recommender
from training.evaluation.report import as_manifest, sources_as_manifest
from training.evaluation.settings import settings_for
from training.evaluation.sources import SourceRecall, measure_sources
from training.evaluation.stages import RetrievalAlone, RetrievalAndRanking, Stages, people_of
from training.progress import Report, Silent


@dataclass(frozen=True)
class OfflineEvaluation:
    """What was measured.

    Args:
        results: Full rankings, every task, model and group.
        cold_results: The search for cold items; empty unless it was asked for.
        candidates: By task, AUC and log loss of the task's action over the ranker's candidates.
        sources: Every task, group and source of candidates.
    """

    results: list[Result] = field(default_factory=list)
    cold_results: list[Result] = field(default_factory=list)
    candidates: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    sources: list[SourceRecall] = field(default_factory=list)

    def as_manifest(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "full_ranking": as_manifest(self.results),
            "cold_items": as_manifest(self.cold_results),
            "candidates": {
                task: {
                    name: None if np.isnan(value.mean) else round(value.mean, 6) for name, value in estimates.items()
                }
                for task, estimates in self.candidates.items()
            },
            "sources": sources_as_manifest(self.sources),
        }


@dataclass(frozen=True)
class EvaluationPlan:
    """How much is measured.

    Args:
        baselines: ``all``; ``light`` for popularity and item-kNN; ``none``.
        user_limit: The most people a task and group, below the task's own limit; None keeps that.
        ks: List lengths.
        resample_count: Bootstrap resamples.
        source_user_limit: The most people a task and group of whom each source of candidates is asked.
    """

    baselines: str = "all"
    user_limit: int | None = None
    ks: Sequence[int] = (10, 20, 100)
    resample_count: int = 1000
    source_user_limit: int = 1000


def evaluate_generation(
    dataset: Dataset,
    split: Split,
    stages: Stages,
    plan: EvaluationPlan,
    report: Report | None = None,
) -> OfflineEvaluation:
    """Measures both stages and the baselines on every task of a data set.

    Args:
        dataset: The data set that the generation was trained on.
        split: The split that it was trained on.
        stages: The generation's engines.
        plan: How much is measured.
        report: Told of progress.
    """
    report = report or Silent()
    evaluation = OfflineEvaluation()
    vectors = content_vectors(dataset.catalogue)
    for task in dataset.tasks:
        report.note(f"evaluating {task.name}")
        limit = _least(settings_for(dataset.name, task.name).user_limit, plan.user_limit)
        problem = pose(dataset, split, task, user_limit=limit)
        people = people_of(problem, dataset.interactions, dataset.actions)
        ranking = RetrievalAndRanking(stages, people, task.action)
        models: list[Recommender | Fitted] = [*_baselines(problem, plan), RetrievalAlone(stages, people), ranking]
        evaluation.results.extend(
            evaluate(models, problem, ks=plan.ks, item_vectors=vectors, resample_count=plan.resample_count)
        )
        warm = next(iter(problem.groups.values()))
        scored = ranking.score(warm)
        evaluation.candidates[task.name] = measure_candidates(
            find_hits(scored.rows, problem.relevant[warm]),
            scored.probabilities,
            scored.rows >= 0,
            resample_count=plan.resample_count,
        )
        report.note(f"asking every source of candidates for {task.name}")
        evaluation.sources.extend(
            measure_sources(
                stages.retrieval,
                dataset.catalogue,
                problem,
                people,
                dataset.interactions.user_ids,
                user_limit=_least(plan.source_user_limit, plan.user_limit) or plan.source_user_limit,
                resample_count=plan.resample_count,
            )
        )
    return evaluation


def evaluate_cold_items(
    dataset: Dataset,
    split: Split,
    cold_items: np.ndarray[Any, np.dtype[np.bool_]],
    stages: Stages,
    plan: EvaluationPlan,
) -> list[Result]:
    """Measures how both stages find items that nothing but content is known of.

    Args:
        dataset: The data set.
        split: Its split.
        cold_items: bool[N], the items hidden when the stages were trained.
        stages: Engines trained without them.
        plan: How much is measured.
    """
    results: list[Result] = []
    for task in dataset.tasks:
        limit = _least(settings_for(dataset.name, task.name).user_limit, plan.user_limit)
        problem = pose_cold(dataset, split, task, cold_items, user_limit=limit)
        people = people_of(problem, dataset.interactions, dataset.actions)
        models: list[Recommender] = [
            Popularity(problem),
            RetrievalAlone(stages, people),
            RetrievalAndRanking(stages, people, task.action),
        ]
        results.extend(evaluate_cold(models, problem, ks=plan.ks, resample_count=plan.resample_count))
    return results


def _baselines(problem: Problem, plan: EvaluationPlan) -> list[Recommender | Fitted]:
    if plan.baselines == "none":
        return []
    if plan.baselines == "light":
        return [Popularity(problem), ItemKnn(problem)]
    return list(fit_baselines(problem, settings_for(problem.dataset, problem.task.name)))


def _least(*limits: int | None) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None
