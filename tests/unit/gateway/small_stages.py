"""Both stages over a few items in this process, on the protocols of the real ones: exact, with given scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import StageFailure
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation, Timing
from gateway.engine.similar import SimilarRequest, SimilarRows
from gateway.engine.stages import NO_QUOTAS, Ranked, RankedItem, Retrieved, Route, SimilarRoute
from ranking_service.engine.selection import CapRule, descending, select
from tests.unit.gateway import stages
from twostage.bundle.generation import Generation
from twostage.bundle.values_column import ValuesColumn

DIMENSION = 4


class Columns(stages.Columns):
    """Candidates as arrays, some of which were asked for by id."""

    def __init__(self, rows: Sequence[int], scores: Sequence[float], included: Sequence[bool]) -> None:
        super().__init__(rows, scores)
        self._included = list(included)

    def sources(self, index: int) -> Sequence[str]:
        return ("included",) if self._included[index] else ("user_vector",)

    def source_ranks(self, index: int) -> Mapping[str, int]:
        return {self.sources(index)[0]: 1 + sum(self._included[:index]) if self._included[index] else index + 1}

    def take(self, positions: Sequence[int]) -> Self:
        taken = [self._included[position] for position in positions]
        return type(self)(self._rows[list(positions)].tolist(), self._scores[list(positions)].tolist(), taken)


@dataclass
class SmallStages:
    """Retrieval by a user vector, ranking by given probabilities; either can be broken.

    Args:
        generation: Whose items they are.
        vectors: float32[N, D], of unit length.
        user: float32[D].
        probabilities: float64[N], what the ranker says of each row.
    """

    generation: Generation
    vectors: NDArray[np.float32]
    user: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    retrieval_failure: StageFailure | None = None
    ranking_failure: StageFailure | None = None
    calls: list[str] = field(default_factory=list)

    @classmethod
    def random(cls, generation: Generation, seed: int) -> Self:
        generator = np.random.default_rng(seed)
        vectors = generator.normal(size=(generation.item_count, DIMENSION))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        # Some are equal, as rankers' answers may be.
        probabilities = generator.integers(0, 12, generation.item_count) / 16
        return cls(generation, vectors.astype(np.float32), vectors[0].astype(np.float32), probabilities)

    @property
    def scores(self) -> NDArray[np.float32]:
        return np.asarray(self.vectors @ self.user, np.float32)

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
        assert generation == self.generation.number
        self.calls.append("retrieve")
        if self.retrieval_failure is not None:
            raise self.retrieval_failure
        assert timeout_seconds > 0
        assert not quotas
        asked = [*request.pinned_item_ids, *include_item_ids]
        assert len(asked) <= 200
        included = self.generation.ids.rows(asked) if asked else np.empty(0, np.int64)
        allowed = np.setdiff1d(np.arange(self.generation.item_count), np.asarray(person.excluded_rows, np.int64))
        if request.filter:
            allowed = self.generation.attributes.rows(request.filter).keep(allowed)
        scores = self.scores
        first = [row for row in dict.fromkeys(included.tolist()) if row in allowed][:count]
        best = [int(row) for row in allowed[np.lexsort((allowed, -scores[allowed]))]]
        chosen = [*first, *[row for row in best if row not in first]][:count]
        chosen.sort(key=lambda row: (-scores[row], row))
        return Retrieved(
            Columns(chosen, scores[chosen].tolist(), [row in first for row in chosen]),
            None,
            [Timing("retrieval", 1.0, 0.5)],
        )

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
        assert generation == self.generation.number
        assert timeout_seconds > 0
        assert len(history_weights) in (0, len(person.history.rows))
        self.calls.append("rank")
        if self.ranking_failure is not None:
            raise self.ranking_failure
        rows = candidates.rows()
        scores = self.probabilities[rows]
        order = descending(scores)
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(1, len(order) + 1)
        strength = request.diversity.strength
        chosen = select(
            rows,
            scores,
            order,
            request.count,
            strength=strength,
            vectors=self.vectors[rows] if strength > 0 else None,
            caps=[CapRule(partial(self._codes, cap.attribute), cap.max_count) for cap in request.diversity.caps],
            pinned_rows=pinned_rows,
        )
        explanations = [Explanation("i0", "Title 0", 0.25, 0.5, 0.125, 1.5)] if request.explain else []
        items = [
            RankedItem(
                item_id=f"i{rows[index]}",
                score=float(scores[index]),
                candidate_index=index,
                title=f"Title {rows[index]}",
                action_scores={"rated": float(scores[index])},
                attributes={},
                ranking_rank=int(ranks[index]),
                reasons=("because of Title 0",) if request.explain else (),
                explanations=explanations,
            )
            for index in chosen.tolist()
        ]
        return Ranked(items, [Timing("ranking", 2.0, 0.25)], ranker="r")

    def similar_items(self, request: SimilarRequest, *, generation: int, timeout_seconds: float) -> SimilarRows:
        assert generation == self.generation.number
        assert timeout_seconds > 0
        self.calls.append("similar_items")
        own = int(self.generation.ids.rows([request.item_id])[0])
        likeness = self.vectors @ self.vectors[own]
        order = [row for row in np.argsort(-likeness, kind="stable").tolist() if row != own][: request.count]
        return SimilarRows(np.array(order, np.uint32), likeness[order].astype(np.float32), None)

    def _codes(self, attribute: str, row: int) -> list[int]:
        column = self.generation.attributes.column(attribute)
        assert isinstance(column, ValuesColumn)
        return [int(code) for code in column.codes_of(row)]


class OneGeneration:
    """Routes where everybody holds one generation."""

    def __init__(self, stages: SmallStages) -> None:
        self.catalogue = Catalogue(stages.generation)
        self.stages = stages

    def choose(self, generation: int | None = None) -> Route[Columns]:
        assert generation in (None, self.catalogue.number)
        return Route(self.catalogue, self.stages, self.stages)

    def held(self, number: int) -> Catalogue | None:
        return self.catalogue if number == self.catalogue.number else None

    def choose_similar(self, item_id: str) -> SimilarRoute:
        assert self.catalogue.rows.rows([item_id])[0] >= 0
        return SimilarRoute(self.catalogue, self.stages)
