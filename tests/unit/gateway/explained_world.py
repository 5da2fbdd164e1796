"""A gateway over small stages, and what becomes of each item there, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.why import Effect, ItemQuestion, Outcome, Step, Why
from gateway.explain import Explainer
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.users.sqlite_store import SqliteUserStore
from tests.unit.gateway.small_stages import Columns, OneGeneration, SmallStages
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.features.diversity import Cap, Diversity

ITEM_COUNT = 16
TAGS = [["even" if row % 2 == 0 else "odd", f"t{row % 3}"] for row in range(ITEM_COUNT)]
YEARS = [float("nan") if row == 5 else 2000.0 + row for row in range(ITEM_COUNT)]
IDS = [f"i{row}" for row in range(ITEM_COUNT)]
SEEN = ("i1", "i2")


class Fixed:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        assert request_id
        assert request.count >= 1
        return self._plan


class World:
    """A gateway over small stages."""

    def __init__(self, generation: Generation, users: SqliteUserStore, plan: Plan, seed: int = 0) -> None:
        self.stages = SmallStages.random(generation, seed)
        routes = OneGeneration(self.stages)
        observer = Observer(CollectorRegistry())
        self.pipeline: Pipeline[Columns] = Pipeline(routes, users, plans=Fixed(plan), observer=observer)
        self.explainer = Explainer(self.pipeline, routes)

    def why(self, item_id: str, request: RecommendRequest) -> Why:
        why = self.explainer.explain(ItemQuestion(request, item_id), Budget(5.0))
        lost = [step for step in why.steps if step.effect is Effect.LOST]
        if why.outcome is Outcome.RECOMMENDED:
            assert (lost, why.lost_by) == ([], "")
            assert why.position > 0
        else:
            assert lost == [why.steps[-1]], "one step lost it, the last"
            assert why.lost_by == f"{lost[0].stage}: {lost[0].rule}"
            assert (why.position, why.recommendation.propensity) == (0, 0.0)
            assert why.recommendation.title == f"Title {item_id[1:]}"
        assert why.recommendation.item_id == item_id
        return why


def step(why: Why, stage: str) -> Step:
    return next(each for each in why.steps if each.stage == stage)


def passes(request: RecommendRequest, row: int) -> list[bool]:
    """By hand: what each condition says of a row."""
    verdicts = []
    for condition in request.filter.conditions:
        if condition.has_range:
            low = -np.inf if condition.minimum is None else condition.minimum
            high = np.inf if condition.maximum is None else condition.maximum
            verdicts.append(bool(low <= YEARS[row] <= high))
        else:
            has = set(TAGS[row])
            verdicts.append(
                (not condition.any_of or bool(has & set(condition.any_of))) and not has & set(condition.none_of)
            )
    return verdicts


def refused_by_walk(order: list[int], pins: list[int], count: int, caps: tuple[Cap, ...]) -> dict[int, str]:
    """By hand: the rows that a walk down an order refuses, and the first cap that was full."""

    def values(row: int) -> list[str]:
        return TAGS[row]

    taken = [row for row in pins if row in order][:count]
    refused: dict[int, str] = {}
    for row in order:
        if row in taken:
            continue
        if len(taken) == count:
            break
        full = [
            cap.attribute
            for cap in caps
            if any(sum(value in values(other) for other in taken) >= cap.max_count for value in values(row))
        ]
        if full:
            refused[row] = full[0]
        else:
            taken.append(row)
    return refused


conditions = st.one_of(
    st.builds(
        lambda any_of, none_of: Condition("tags", any_of=tuple(any_of), none_of=tuple(none_of)),
        st.lists(st.sampled_from(["even", "t0", "t1", "nix"]), max_size=2, unique=True),
        st.lists(st.sampled_from(["t2", "nix"]), max_size=1),
    ),
    st.builds(lambda low: Condition("year", minimum=low), st.sampled_from([2001.0, 2004.0, 2012.0])),
)
requests = st.builds(
    RecommendRequest,
    user_id=st.sampled_from(["", "known", "nobody"]),
    recent_item_ids=st.lists(st.sampled_from([*IDS, "nix"]), max_size=2),
    count=st.integers(1, 10),
    filter=st.builds(lambda some: Filter(tuple(some)), st.lists(conditions, max_size=2)),
    exclude_item_ids=st.lists(st.sampled_from([*IDS, "nix"]), max_size=3),
    include_seen=st.booleans(),
    diversity=st.builds(
        Diversity,
        strength=st.sampled_from([0.0, 0.0, 0.3, 0.8, 1.0]),
        caps=st.one_of(st.just(()), st.builds(lambda n: (Cap("tags", n),), st.integers(1, 4))),
    ),
    pinned_item_ids=st.lists(st.sampled_from(IDS), max_size=3, unique=True),
)


class BruteForce:
    """What becomes of each item, by hand."""

    def __init__(self, world: World, request: RecommendRequest, candidate_count: int) -> None:
        self.request, self.stages = request, world.stages
        self.answer = [each.item_id for each in world.pipeline.recommend(request, Budget(5.0)).recommendations]
        seen = {*request.recent_item_ids, *(SEEN if request.user_id == "known" else ())}
        self.excluded = {*request.exclude_item_ids, *(() if request.include_seen else seen)}
        self.allowed = [row for row in range(ITEM_COUNT) if IDS[row] not in self.excluded and all(passes(request, row))]
        self.pins = [IDS.index(each) for each in request.pinned_item_ids]
        scores = self.stages.scores
        included = [row for row in self.pins if row in self.allowed]
        by_score = sorted(self.allowed, key=lambda row: (-scores[row], row))
        first = list(dict.fromkeys([*included, *by_score]))
        self.candidates = sorted(first[: max(candidate_count, request.count)], key=lambda row: (-scores[row], row))
        self.order = sorted(self.candidates, key=self._worst_last)
        self.refused = refused_by_walk(self.order, self.pins, request.count, request.diversity.caps)
        self.chosen = [row for row in map(IDS.index, self.answer) if row not in self.pins]

    def _worst_last(self, row: int) -> tuple[float, float, int]:
        return -self.stages.probabilities[row], -self.stages.scores[row], row

    def check(self, row: int, why: Why) -> None:
        last, request = why.steps[-1], self.request
        if IDS[row] in self.answer:
            assert (why.outcome, why.position) == (Outcome.RECOMMENDED, self.answer.index(IDS[row]) + 1)
            assert step(why, "ranking").numbers["rank"] == self.order.index(row) + 1
        elif IDS[row] in self.excluded:
            assert why.outcome is Outcome.EXCLUDED
            assert last.rule == ("exclude_item_ids" if IDS[row] in request.exclude_item_ids else "seen")
        elif row not in self.allowed:
            assert why.outcome is Outcome.FILTERED
            assert last.rule == f"conditions[{passes(request, row).index(False)}]"
        elif row not in self.candidates:
            assert why.outcome is Outcome.NOT_RETRIEVED
            self._check_not_retrieved(row, last)
        else:
            told = step(why, "ranking").numbers
            assert (told["score"], told["rank"]) == (self.stages.probabilities[row], self.order.index(row) + 1)
            assert why.recommendation.score == told["score"]
            self._check_not_selected(row, why)

    def _check_not_retrieved(self, row: int, last: Step) -> None:
        assert last.numbers["if_retrieved.score"] == self.stages.probabilities[row]
        unpinned = [float(self.stages.scores[other]) for other in self.candidates if other not in self.pins]
        assert last.rule == ("user_vector" if unpinned else "pinned_item_ids")
        if unpinned:
            assert last.numbers["score"] == pytest.approx(float(self.stages.scores[row]))
            assert last.numbers["least_user_vector_score"] == pytest.approx(min(unpinned))
        if not self.pins:
            had_it_been = sorted([*self.candidates[:-1], row], key=self._worst_last)
            assert last.numbers["if_retrieved.rank"] == had_it_been.index(row) + 1

    def _check_not_selected(self, row: int, why: Why) -> None:
        last, request, place = why.steps[-1], self.request, self.order.index(row)
        if why.outcome is Outcome.OUTRANKED:
            assert all(self.order.index(other) < place for other in self.chosen)
            assert place >= request.count
        elif last.rule == "cap tags":
            held = [sum(value in TAGS[IDS.index(each)] for each in self.answer) for value in TAGS[row]]
            assert max(held) >= request.diversity.caps[0].max_count
        elif last.rule == "diversity":
            assert request.diversity.strength > 0
            assert any(self.order.index(other) > place for other in self.chosen)
            vectors = self.stages.vectors
            likeness = max(float(vectors[IDS.index(each)] @ vectors[row]) for each in self.answer)
            assert last.numbers["greatest_similarity"] == pytest.approx(likeness, abs=1e-6)
        else:
            assert last.rule == "pinned_item_ids"
            assert place < request.count
        if request.diversity.strength == 0:
            assert (last.rule == "cap tags") == (row in self.refused)
