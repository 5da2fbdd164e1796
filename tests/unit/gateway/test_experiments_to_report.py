"""Experiments from their file through the pipeline and the impression log to the report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse
from gateway.impressions.log_folder import LogFolder, Retention
from gateway.impressions.log_writer import Rolling
from gateway.impressions.recorders import Logs
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.planner import Planner
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import NewEvent
from tests.unit.gateway.stages import OneWay, Stages
from training.experiments.arms import compare_rivals, unit_counts
from training.experiments.logged_policy import estimate_exploration
from training.experiments.sample import Sample, read_sample
from training.experiments.sample_ratio import sample_ratio
from twostage.bundle.generation import Generation
from twostage.experiments.file import read_experiments
from twostage.features.context import Context
from twostage.impressions.log import open_log
from twostage.impressions.user_key import UserKeys

FILE = """
experiments:
  - {name: size, layer: a, arms: [{name: control}, {name: few, parameters: {candidates: 15}}]}
  - name: chance
    layer: b
    unit: request
    where: {surface: [list]}
    arms: [{name: explored, parameters: {exploration: {epsilon: 0.5, share: 0.5, pool_count: 6}}}]
  - name: duel
    layer: c
    kind: interleave
    where: {surface: [home]}
    arms: [{name: content}, {name: deepfm, parameters: {ranker: deepfm}}]
"""
PEOPLE, COUNT = 150, 6


@pytest.fixture
def answered(
    tmp_path: Path, generation: Generation, users: SqliteUserStore
) -> tuple[list[RecommendResponse], Sample, Planner]:
    """Each of 150 people asks for a list and a home page; whoever is explored to clicks the last item of the list."""
    path = tmp_path / "experiments.yaml"
    path.write_text(FILE)
    planner = Planner(Plan(candidate_count=20), read_experiments(path))
    registry = CollectorRegistry()
    folder = LogFolder(tmp_path / "log", Retention(1 << 30, 86_400))
    logs = Logs.open(folder, UserKeys(b"a secret of 24 bytes ..."), registry, rolling=Rolling())
    pipeline = Pipeline(
        OneWay(generation, Stages(list(range(20)))),
        users,
        plans=planner,
        observer=Observer(registry),
        recorder=logs.recorder,
    )
    responses = []
    for number in range(PEOPLE):
        for surface in ("list", "home"):
            request = RecommendRequest(f"person {number}", count=COUNT, context=Context(surface=surface))
            response = pipeline.recommend(request, Budget(1.0))
            responses.append(response)
            clicked = response.recommendations[-1]
            logs.events.note(
                [
                    NewEvent(
                        f"e{len(responses)}", request.user_id, clicked.item_id, "liked", None, 1, response.request_id
                    )
                ]
            )
    logs.close(30)
    return responses, read_sample(open_log(tmp_path / "log")), planner


def test_what_the_log_says_is_what_was_answered(
    answered: tuple[list[RecommendResponse], Sample, Planner],
) -> None:
    responses, sample, planner = answered
    lists, homes = responses[::2], responses[1::2]
    assert all({arm.experiment for arm in response.arms} == {"size", "chance"} for response in lists)
    assert all({arm.experiment for arm in response.arms} == {"size", "duel"} for response in homes)
    assert (len(sample.people), sample.people_count, sample.unnamed_count) == (2 * PEOPLE, PEOPLE, 0)
    assert sample.counts("liked").sum() == 2 * PEOPLE
    assert sample.unmatched_count == 0

    seen = unit_counts(sample, "size", "user_id")
    assert seen == Counter(dict(response.arms)["size"] for response in lists)
    weights = {arm.name: arm.weight for arm in planner.assignment.experiments[0].arms}
    assert not sample_ratio(seen, weights).mismatch


def test_propensities_and_what_chance_brought_are_told_by_the_log_alone(
    answered: tuple[list[RecommendResponse], Sample, Planner],
) -> None:
    responses, sample, _ = answered
    items = sample.explored
    assert len(items.answers) == PEOPLE * COUNT
    assert set(items.epsilons.tolist()) == {0.5}
    told = [each.propensity for response in responses[::2] for each in response.recommendations]
    assert items.propensities.tolist() == told
    # Three of six positions, half of the time each.
    assert (items.propensities.reshape(-1, COUNT)[:, :3] == 1).all()
    assert items.explored.sum() / (3 * PEOPLE) == pytest.approx(0.5, abs=0.12)
    # An item of the pool had a sixth, a fifth or a quarter of the half.
    drawn = set(items.propensities[items.explored].round(9).tolist())
    assert drawn <= {round(0.5 / left, 9) for left in (6, 5, 4)}
    assert set(items.propensities[~items.explored].tolist()) == {1.0, 0.5}
    assert estimate_exploration(sample, "liked")[1].value == pytest.approx(1 / COUNT, abs=0.12)


def test_interleaved_answers_name_their_teams_and_wins_are_counted(
    answered: tuple[list[RecommendResponse], Sample, Planner],
) -> None:
    responses, sample, _ = answered
    assert sample.rivals == {"duel": ("content", "deepfm")}
    last = Counter(response.recommendations[-1].team for response in responses[1::2])
    result = compare_rivals(sample, "duel", "liked")
    assert (result.win_count, result.loss_count, result.answer_count) == (last["deepfm"], last["content"], PEOPLE)
    assert result.share.value == last["deepfm"] / PEOPLE
