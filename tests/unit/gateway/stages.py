"""Both stages in this process, and pipelines before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from gateway.engine.budget import Budget
from gateway.engine.catalogue import Catalogue
from gateway.engine.person import Person
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation, RecommendResponse, Shortfall, Timing
from gateway.engine.served import Served
from gateway.engine.stages import NO_QUOTAS, C, Ranked, RankedItem, RecommendRoutes, Retrieved, Route
from gateway.observer import Observer
from gateway.pipeline import Pipeline
from gateway.users.store import UserStore
from twostage.bundle.generation import Generation

RANKERS = {"content": ["liked", "rated"], "deepfm": ["liked"]}
TAGS = [["even" if row % 2 == 0 else "odd"] for row in range(40)]


class Columns:
    """Candidates as arrays; what the adapters keep in messages."""

    def __init__(self, rows: Sequence[int], scores: Sequence[float]) -> None:
        self._rows, self._scores = np.array(rows, np.uint32), np.array(scores, np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> NDArray[np.uint32]:
        return self._rows

    def scores(self) -> NDArray[np.float32]:
        return self._scores

    def score(self, index: int) -> float:
        return float(self._scores[index])

    def sources(self, index: int) -> Sequence[str]:
        return ("user_vector",) if index % 2 == 0 else ("popular",)

    def source_ranks(self, index: int) -> Mapping[str, int]:
        return {self.sources(index)[0]: index // 2 + 1}

    def take(self, positions: Sequence[int]) -> Self:
        return type(self)(self._rows[list(positions)].tolist(), self._scores[list(positions)].tolist())


class Stages:
    """Both stages: retrieval offers rows in an order, ranking turns the list around behind the pins.

    The ranker ``deepfm`` does not turn it around.
    """

    def __init__(self, rows: Sequence[int], scores: Sequence[float] | None = None) -> None:
        self.candidates = Columns(rows, scores if scores is not None else np.linspace(1, 0, len(rows)).tolist())
        self.shortfall: Shortfall | None = None
        self.retrieval_failure: Exception | None = None
        self.ranking_failure: Exception | None = None
        self.ranker_failures: dict[str, Exception] = {}
        self.person: Person | None = None
        self.asked_count = 0
        self.quotas: Mapping[str, int] = {}
        self.included: Sequence[str] = ()
        self.history_weights: Sequence[float] = ()
        self.pinned_rows: Sequence[int] = ()
        self.ranked_counts: list[int] = []
        self.rank_requests: list[RecommendRequest] = []
        self.retrieval_calls = 0
        self.generation = 1

    def retrieve(
        self,
        request: RecommendRequest,
        person: Person,
        *,
        generation: int,
        count: int,
        timeout_seconds: float,
        quotas: Mapping[str, int] = NO_QUOTAS,
        include_item_ids: Sequence[str] = (),
    ) -> Retrieved[Columns]:
        assert generation == self.generation
        assert 0 < timeout_seconds < 1
        assert count >= min(request.count, 20)
        self.person, self.asked_count, self.quotas, self.included = person, count, quotas, include_item_ids
        self.retrieval_calls += 1
        if self.retrieval_failure is not None:
            raise self.retrieval_failure
        weights = [0.25] * len(person.history.rows) if request.explain else []
        return Retrieved(self.candidates, self.shortfall, [Timing("retrieval", 1.0, 0.5)], weights)

    def rank(
        self,
        request: RecommendRequest,
        person: Person,
        candidates: Columns,
        *,
        generation: int,
        timeout_seconds: float,
        history_weights: Sequence[float] = (),
        pinned_rows: Sequence[int] = (),
    ) -> Ranked:
        assert generation == self.generation
        self.history_weights, self.pinned_rows = history_weights, pinned_rows
        assert 0 < timeout_seconds < 1
        assert person is self.person
        self.ranked_counts.append(len(candidates))
        self.rank_requests.append(request)
        if self.ranking_failure is not None:
            raise self.ranking_failure
        if request.ranker in self.ranker_failures:
            raise self.ranker_failures[request.ranker]
        rows = candidates.rows().tolist()
        first = [rows.index(row) for row in pinned_rows if row in rows]
        order = [index for index in range(len(rows)) if index not in first]
        if request.ranker != "deepfm":
            order.reverse()
        items = [
            RankedItem(
                item_id=f"i{rows[index]}",
                score=1.0 - position / 100,
                candidate_index=index,
                title=f"Title {rows[index]}",
                action_scores={"liked": 0.5},
                attributes={},
                ranking_rank=position + 1,
                reasons=(),
                explanations=[Explanation("i39", "Title 39", 0.25, 0.5, 0.125, 1.5)] if request.explain else [],
            )
            for position, index in enumerate([*first, *order][: request.count])
        ]
        return Ranked(items, [Timing("ranking", 2.0, 0.25)], ranker=request.ranker or "content")


class OneWay:
    """Everybody holds one generation."""

    def __init__(self, generation: Generation, stages: Stages) -> None:
        self._catalogue = Catalogue(generation)
        self._route = Route(self._catalogue, stages, stages)

    def choose(self, generation: int | None = None) -> Route[Columns]:
        del generation
        return self._route

    def held(self, number: int) -> Catalogue | None:
        return self._catalogue if number == self._catalogue.number else None


class Ways:
    """One way for the first choice, another for the next; ``gone`` are generations that are held no more."""

    def __init__(self, *ways: tuple[Generation, Stages]) -> None:
        self._ways = [Route(Catalogue(generation), stages, stages) for generation, stages in ways]
        self.choice_count = 0
        self.preferred: list[int | None] = []
        self.gone: set[int] = set()

    def choose(self, generation: int | None = None) -> Route[Columns]:
        self.preferred.append(generation)
        self.choice_count += 1
        return self._ways[min(self.choice_count, len(self._ways)) - 1]

    def held(self, number: int) -> Catalogue | None:
        held = {way.catalogue.number: way.catalogue for way in self._ways}
        return None if number in self.gone else held.get(number)


@dataclass
class FixedPlans:
    """The same plan for everybody."""

    fixed: Plan = field(default_factory=Plan)

    def plan(self, request: RecommendRequest, request_id: str) -> Plan:
        assert len(request_id) == 32
        del request
        return self.fixed


@dataclass
class Kept:
    """Keeps what it is told of answers."""

    served: list[Served] = field(default_factory=list)

    def note(self, served: Served) -> None:
        self.served.append(served)


def make_pipeline(
    routes: RecommendRoutes[C],
    users: UserStore,
    *,
    candidate_count: int = 500,
    plan: Plan | None = None,
    registry: CollectorRegistry | None = None,
    recorder: Kept | None = None,
) -> Pipeline[C]:
    observer = Observer(registry if registry is not None else CollectorRegistry())
    plan = replace(plan if plan is not None else Plan(), candidate_count=candidate_count)
    return Pipeline(routes, users, plans=FixedPlans(plan), observer=observer, recorder=recorder)


def answer(
    generation: Generation, users: UserStore, stages: Stages, request: RecommendRequest, candidate_count: int = 500
) -> RecommendResponse:
    pipeline = make_pipeline(OneWay(generation, stages), users, candidate_count=candidate_count)
    return pipeline.recommend(request, Budget(1.0))


def answer_by(ways: Ways, users: UserStore, request: RecommendRequest) -> RecommendResponse:
    return make_pipeline(ways, users).recommend(request, Budget(1.0))


def ids(response: RecommendResponse) -> list[str]:
    return [recommendation.item_id for recommendation in response.recommendations]
