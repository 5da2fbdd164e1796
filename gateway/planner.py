"""From the experiments that a request is in to the plan by which it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.engine.plan import NO_EXPLORATION, Arm, Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from twostage.experiments.assignment import Assigned, Assignment
from twostage.experiments.experiment import INTERLEAVED
from twostage.experiments.parameters import Parameters

# Combinations of arms grow with the product of the layers' arms; beyond so many they are put together anew.
_MAX_REMEMBERED = 4096


class Planner:
    """Plans requests; asked by any thread, and told of new experiments by one.

    Args:
        base: How requests are answered that are in no experiment.
        assignment: Who is in which arm; nobody in any by default.
    """

    def __init__(self, base: Plan, assignment: Assignment | None = None) -> None:
        self._base = base
        self._set = _PlanSet(base, assignment or Assignment())

    def replace_experiments(self, assignment: Assignment) -> None:
        """Plans by these experiments from the next request on."""
        # One reference is swapped, so a request sees the old ones or the new ones whole.
        self._set = _PlanSet(self._base, assignment)

    @property
    def assignment(self) -> Assignment:
        """The experiments that are planned by."""
        return self._set.assignment

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        """How one request is answered; never fails.

        Args:
            request: Its user and its context decide.
            request_id: Names the request; decides where requests are assigned and not people.
        """
        return self._set.plan(request, request_id)


class _PlanSet:
    """The plans of one file's experiments."""

    def __init__(self, base: Plan, assignment: Assignment) -> None:
        self.assignment = assignment
        self._base = base
        self._plans: dict[tuple[Assigned, ...], Plan] = {(): base}

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        context = request.context
        assigned = self.assignment.assign(request.user_id, request_id, context.surface, context.device, context.locale)
        plan = self._plans.get(assigned)
        if plan is None:
            plan = self._make(assigned)
            if len(self._plans) < _MAX_REMEMBERED:
                self._plans[assigned] = plan
        return plan

    def _make(self, assigned: tuple[Assigned, ...]) -> Plan:
        plan, arms, interleaved = self._base, [], None
        for experiment_index, arm_index in assigned:
            experiment = self.assignment.experiments[experiment_index]
            if experiment.kind == "interleave":
                arms.append(Arm(experiment.name, INTERLEAVED))
                interleaved = experiment
            else:
                arm = experiment.arms[arm_index]
                arms.append(Arm(experiment.name, arm.name))
                plan = _apply(plan, arm.parameters)
        if interleaved is not None:
            # What else was overridden holds for both rankings. Two drafted into one are no ranking to explore.
            rivals = tuple(Rival(arm.name, _override(plan.overrides, arm.parameters)) for arm in interleaved.arms)
            plan = replace(plan, rivals=rivals, exploration=NO_EXPLORATION)
        return replace(plan, arms=tuple(arms))


def _apply(plan: Plan, parameters: Parameters) -> Plan:
    changes: dict[str, Any] = {}
    if parameters.candidates is not None:
        changes["candidate_count"] = parameters.candidates
    if parameters.sources is not None:
        changes["source_quotas"] = dict(parameters.sources)
    if parameters.generation is not None:
        changes["generation"] = parameters.generation
    if parameters.exploration is not None:
        exploration = parameters.exploration
        changes["exploration"] = Exploration(exploration.epsilon, exploration.share, exploration.pool_count)
    return replace(plan, overrides=_override(plan.overrides, parameters), **changes)


def _override(overrides: Overrides, parameters: Parameters) -> Overrides:
    blend: Mapping[str, float] = overrides.blend if parameters.blend is None else dict(parameters.blend)
    strength = overrides.diversity_strength if parameters.diversity is None else parameters.diversity
    return Overrides(parameters.ranker or overrides.ranker, blend, strength)
