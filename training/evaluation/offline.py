"""The offline evaluation of a generation: every task, stage by stage, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.data.dataset import Dataset, Split
from training.errors import NothingToFind, RankersInvalid
from training.evaluation.baselines.item_knn import ItemKnn
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.baselines.suite import fit_baselines
from training.evaluation.bootstrap import Estimate
from training.evaluation.calibration import PeopleTested, measure_calibration
from training.evaluation.candidates import measure_candidates
from training.evaluation.cold import evaluate_cold
from training.evaluation.harness import Result, evaluate
from training.evaluation.item_vectors import content_vectors
from training.evaluation.metrics import find_hits
from training.evaluation.problem import Problem, pose, pose_cold
from training.evaluation.ranker_measures import RankerMeasures, estimates_as_manifest
from training.evaluation.recommender import Fitted, Recommender
from training.evaluation.report import as_manifest, sources_as_manifest
from training.evaluation.settings import settings_for
from training.evaluation.sources import SourceRecall, measure_sources
from training.evaluation.stages import (
    CANDIDATE_COUNT,
    People,
    RetrievalAlone,
    RetrievalAndRanking,
    SharedCandidates,
    Stages,
    people_of,
)
from training.progress import Report, Silent


@dataclass(frozen=True)
class OfflineEvaluation:
    """What was measured.

    Args:
        results: Full rankings, every task, model and group.
        cold_results: The search for cold items; empty unless it was asked for.
        rankers: By name, what was measured of each ranker over its candidates, the default one first.
        sources: Every task, group and source of candidates.
    """

    results: list[Result] = field(default_factory=list)
    cold_results: list[Result] = field(default_factory=list)
    rankers: dict[str, RankerMeasures] = field(default_factory=dict)
    sources: list[SourceRecall] = field(default_factory=list)

    @property
    def candidates(self) -> dict[str, dict[str, Estimate]]:
        """By task, AUC and log loss of the task's action over the first ranker's candidates."""
        first = next(iter(self.rankers.values()), None)
        return {} if first is None else first.candidates

    def as_manifest(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "full_ranking": as_manifest(self.results),
            "cold_items": as_manifest(self.cold_results),
            "candidates": estimates_as_manifest(self.candidates),
            "rankers": {name: measures.as_manifest() for name, measures in self.rankers.items()},
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
        calibration_user_limit: The most people on whom probabilities are held against what was done.
        rankers: Which rankers; None for all of the generation's.
    """

    baselines: str = "all"
    user_limit: int | None = None
    ks: Sequence[int] = (10, 20, 100)
    resample_count: int = 1000
    source_user_limit: int = 1000
    calibration_user_limit: int = 1000
    rankers: tuple[str, ...] | None = None


def evaluate_generation(
    dataset: Dataset,
    split: Split,
    stages: Stages,
    plan: EvaluationPlan,
    report: Report | None = None,
) -> OfflineEvaluation:
    """Measures both stages and the baselines on every task of a data set, every ranker on the same candidates.

    A task with nothing to find in the test part is left out, and the report told.

    Args:
        dataset: The data set that the generation was trained on.
        split: The split that it was trained on.
        stages: The generation's engines.
        plan: How much is measured.
        report: Told of progress.

    Raises:
        RankersInvalid: The plan names rankers that the generation does not have.
    """
    report = report or Silent()
    evaluation = OfflineEvaluation()
    vectors = content_vectors(dataset.catalogue)
    names = ranker_titles(stages, plan.rankers)
    seconds = stages.ranking.generation.manifest.training.get("rankers", {})
    evaluation.rankers.update({name: RankerMeasures(seconds.get(name, {}).get("seconds")) for name in names})
    shared: dict[bool, SharedCandidates] = {}

    def candidates_of(people: People) -> SharedCandidates:
        # Tasks differ in whom they ask about what, not in what may be known, unless they offer what people have.
        if people.hide_seen not in shared:
            shared[people.hide_seen] = SharedCandidates(stages, people, max(CANDIDATE_COUNT, *plan.ks))
        return shared[people.hide_seen]

    for task in dataset.tasks:
        report.note(f"evaluating {task.name}")
        limit = _least(settings_for(dataset.name, task.name).user_limit, plan.user_limit)
        try:
            problem = pose(dataset, split, task, user_limit=limit)
        except NothingToFind as error:
            # What took hours to train is as good without a measure, and other tasks have one.
            report.note(f"not measured: {error}")
            continue
        people = people_of(problem, dataset.interactions, dataset.actions)
        candidates = candidates_of(people)
        rankings = {
            name: RetrievalAndRanking(stages, candidates, task.action, ranker=name, name=title)
            for name, title in names.items()
        }
        retrieval_ms = candidates.retrieve(np.concatenate(list(problem.groups.values())))
        models: list[Recommender | Fitted] = [
            *_baselines(problem, plan),
            RetrievalAlone(stages, people),
            *(
                Fitted(ranking, evaluation.rankers[name].fit_seconds, retrieval_ms)
                for name, ranking in rankings.items()
            ),
        ]
        evaluation.results.extend(
            evaluate(models, problem, ks=plan.ks, item_vectors=vectors, resample_count=plan.resample_count)
        )
        warm = next(iter(problem.groups.values()))
        for name, ranking in rankings.items():
            scored = ranking.score(warm)
            evaluation.rankers[name].candidates[task.name] = measure_candidates(
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
    report.note("holding probabilities against what was done")
    tested = PeopleTested(dataset, split, _least(plan.calibration_user_limit, plan.user_limit))
    everybody = People(dataset.interactions.take(~split.test), dataset.actions, hide_seen=True)
    for name, measures in evaluation.rankers.items():
        measures.calibration.update(measure_calibration(stages, candidates_of(everybody), tested, name))
    return evaluation


def ranker_titles(stages: Stages, wanted: Sequence[str] | None = None) -> dict[str, str]:
    """What rankers are called in tables, by name, the default one first.

    Args:
        stages: The generation's engines.
        wanted: Which rankers; None for all.

    Raises:
        RankersInvalid: The generation lacks one of them, one is given twice, or there is none.
    """
    known = stages.rankers
    if wanted is not None:
        if not wanted:
            raise RankersInvalid(f"rankers: expected at least one of {', '.join(known)}, got none")
        for name in wanted:
            if name not in known:
                raise RankersInvalid(
                    f"rankers: expected names among this generation's {', '.join(known)}, got {name!r}"
                )
            if wanted.count(name) > 1:
                raise RankersInvalid(f"rankers: expected each name once, got {name!r} {wanted.count(name)} times")
    # Where there is but one, what matters is that there is a second stage.
    if len(known) == 1:
        return {known[0]: RetrievalAndRanking.title}
    return {name: f"retrieval + {name}" for name in wanted or known}


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
        candidates = SharedCandidates(stages, people, max(CANDIDATE_COUNT, *plan.ks))
        models: list[Recommender] = [
            Popularity(problem),
            RetrievalAlone(stages, people),
            *(
                RetrievalAndRanking(stages, candidates, task.action, ranker=name, name=title)
                for name, title in ranker_titles(stages, plan.rankers).items()
            ),
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
