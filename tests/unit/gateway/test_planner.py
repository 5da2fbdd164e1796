from __future__ import annotations

from pathlib import Path

import pytest

from gateway.engine.plan import NO_EXPLORATION, Arm, Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from gateway.planner import Planner
from twostage.experiments.assignment import Assignment
from twostage.experiments.file import read_experiments
from twostage.features.context import Context

BASE = Plan(candidate_count=321)


def planner(tmp_path: Path, text: str, base: Plan = BASE) -> Planner:
    path = tmp_path / "experiments.yaml"
    path.write_text(text)
    return Planner(base, read_experiments(path))


def test_without_experiments_the_plan_is_the_gateway_s_own() -> None:
    assert Planner(BASE).plan(RecommendRequest(user_id="anna"), "r") is BASE


def test_an_arm_overrides_every_parameter_that_it_names(tmp_path: Path) -> None:
    plans = planner(
        tmp_path,
        """
experiments:
  - name: everything
    arms:
      - name: all
        parameters:
          sources: {popular: 30, new: 0}
          candidates: 700
          blend: {clicked: 1, bought: 0.5}
          diversity: 0.25
          ranker: din
          generation: 7
          exploration: {epsilon: 0.1, share: 0.3, pool_count: 40}
""",
    )
    assert plans.plan(RecommendRequest(user_id="anna"), "r") == Plan(
        candidate_count=700,
        source_quotas={"popular": 30, "new": 0},
        overrides=Overrides("din", {"clicked": 1.0, "bought": 0.5}, 0.25),
        generation=7,
        exploration=Exploration(0.1, 0.3, 40),
        arms=(Arm("everything", "all"),),
    )


TWO_LAYERS = """
experiments:
  - name: rank
    layer: ranking
    arms: [{name: a, parameters: {ranker: din}}]
  - name: fetch
    layer: retrieval
    where: {surface: [home]}
    arms: [{name: b, parameters: {candidates: 50}}]
"""


def test_layers_add_up_and_conditions_choose(tmp_path: Path) -> None:
    plans = planner(tmp_path, TWO_LAYERS)
    home = plans.plan(RecommendRequest(user_id="anna", context=Context(surface="home")), "r")
    assert home.arms == (Arm("rank", "a"), Arm("fetch", "b"))
    assert (home.candidate_count, home.overrides.ranker) == (50, "din")
    elsewhere = plans.plan(RecommendRequest(user_id="anna", context=Context(surface="cart")), "r")
    assert elsewhere.arms == (Arm("rank", "a"),)
    assert elsewhere.candidate_count == 321


def test_whoever_is_not_named_is_in_no_experiment_on_people(tmp_path: Path) -> None:
    plans = planner(tmp_path, TWO_LAYERS)
    assert plans.plan(RecommendRequest(recent_item_ids=("a", "b")), "r") is BASE


def test_two_interleaved_arms_become_rivals_and_nothing_is_explored(tmp_path: Path) -> None:
    plans = planner(
        tmp_path,
        """
experiments:
  - name: duel
    kind: interleave
    unit: request
    arms: [{name: old}, {name: new, parameters: {ranker: din, diversity: 0.5}}]
""",
        Plan(exploration=Exploration(0.5), overrides=Overrides(diversity_strength=0.1)),
    )
    plan = plans.plan(RecommendRequest(), "r")
    assert plan.rivals == (
        Rival("old", Overrides(diversity_strength=0.1)),
        Rival("new", Overrides("din", {}, 0.5)),
    )
    assert plan.exploration == NO_EXPLORATION
    assert plan.arms == (Arm("duel", "interleaved"),)


def test_what_another_layer_overrides_holds_for_both_rivals_wherever_it_stands(tmp_path: Path) -> None:
    plans = planner(
        tmp_path,
        """
experiments:
  - {name: duel, layer: x, kind: interleave, arms: [{name: old}, {name: new, parameters: {diversity: 0.5}}]}
  - {name: ranker, layer: y, arms: [{name: deep, parameters: {ranker: din, candidates: 99}}]}
""",
    )
    plan = plans.plan(RecommendRequest(user_id="anna"), "r")
    assert plan.rivals == (Rival("old", Overrides("din")), Rival("new", Overrides("din", {}, 0.5)))
    assert plan.candidate_count == 99
    assert plan.arms == (Arm("duel", "interleaved"), Arm("ranker", "deep"))


@pytest.mark.parametrize("unit", ["user_id", "request"])
def test_the_unit_alone_decides(tmp_path: Path, unit: str) -> None:
    plans = planner(
        tmp_path, f"experiments: [{{name: e, unit: {unit}, arms: [{{name: a}}, {{name: b}}, {{name: c}}]}}]"
    )
    people, requests = [f"person {n}" for n in range(40)], [f"request {n}" for n in range(40)]
    arms = {(p, r): plans.plan(RecommendRequest(user_id=p), r).arms for p in people for r in requests}
    by_person = {p: {arms[p, r] for r in requests} for p in people}
    by_request = {r: {arms[p, r] for p in people} for r in requests}
    one, other = (by_person, by_request) if unit == "user_id" else (by_request, by_person)
    assert all(len(seen) == 1 for seen in one.values())
    assert all(len(seen) == 3 for seen in other.values())


def test_new_experiments_are_planned_by_from_the_next_request_on(tmp_path: Path) -> None:
    plans = planner(tmp_path, TWO_LAYERS)
    request = RecommendRequest(user_id="anna")
    assert plans.plan(request, "r").arms
    plans.replace_experiments(Assignment())
    assert plans.plan(request, "r") is BASE


def test_plans_are_made_once_for_each_combination_of_arms(tmp_path: Path) -> None:
    plans = planner(tmp_path, TWO_LAYERS)
    one, other = (plans.plan(RecommendRequest(user_id=name), "r") for name in ("anna", "ben"))
    assert one is other
