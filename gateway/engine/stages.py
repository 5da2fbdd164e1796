"""What the gateway needs of the two stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.engine.catalogue import Catalogue
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Explanation, Shortfall, Timing
from gateway.engine.similar import SimilarRequest, SimilarRows

NO_QUOTAS: Mapping[str, int] = MappingProxyType({})
"""No source is bounded by anything but the count."""


class Candidates(Protocol):
    """Candidates as retrieval gave them, best first; kept in the form in which ranking takes them."""

    def __len__(self) -> int:
        """The number of candidates."""

    def rows(self) -> NDArray[np.uint32]:
        """uint32[C], the candidates' rows."""

    def scores(self) -> NDArray[np.float32]:
        """float32[C], user vector · item vector."""

    def score(self, index: int) -> float:
        """The retrieval score of one candidate."""

    def sources(self, index: int) -> Sequence[str]:
        """The names of the sources that found one candidate."""

    def source_ranks(self, index: int) -> Mapping[str, int]:
        """The rank of one candidate in each source that found it, by name, from 1; empty unless asked for."""

    def take(self, positions: Sequence[int]) -> Self:
        """The candidates at these positions, in this order."""


C = TypeVar("C", bound=Candidates)
C_contra = TypeVar("C_contra", bound=Candidates, contravariant=True)


@dataclass(frozen=True, slots=True)
class Retrieved(Generic[C]):
    """An answer of retrieval.

    Args:
        candidates: Best first.
        shortfall: None when as many were found as asked for.
        timings: The call first, then the steps inside it.
        history_weights: When asked for an explanation: the part of each entry of the person's history in the user
            vector, in the history's order; empty when it is not told.
    """

    candidates: C
    shortfall: Shortfall | None
    timings: Sequence[Timing]
    history_weights: Sequence[float] = ()


class RankedItem(NamedTuple):
    """One scored candidate; ``candidate_index`` is its position among the candidates, from 0."""

    item_id: str
    score: float
    candidate_index: int
    title: str
    action_scores: Mapping[str, float]
    attributes: Mapping[str, str]
    ranking_rank: int
    reasons: Sequence[str]
    explanations: Sequence[Explanation] = ()


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer of ranking.

    Args:
        items: Best first.
        timings: The call first, then the steps inside it.
        ranker: Which ranker scored; empty when it is not told.
        candidate_count: How many of the candidates were ranked: `gateway.engine.fewer.ranked_positions` says which; 0
            for all of them.
    """

    items: Sequence[RankedItem]
    timings: Sequence[Timing]
    ranker: str = ""
    candidate_count: int = 0


class Retrieval(Protocol[C]):
    """The retrieval stage."""

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
    ) -> Retrieved[C]:
        """Finds ``count`` candidates.

        Args:
            request: What is asked.
            person: Whose history it is.
            generation: Whose rows they are.
            count: How many are wanted.
            timeout_seconds: How long it may take.
            quotas: The most candidates by source, by the sources' names; a source that retrieval does not know is left
                out.
            include_item_ids: Items that must be among the candidates beside the request's pinned ones.

        Raises:
            StageFailure: It did not answer.
            InvalidField: It refuses the request; the caller is told.
        """


class Similarity(Protocol):
    """The retrieval stage, asked about items."""

    def similar_items(self, request: SimilarRequest, *, generation: int, timeout_seconds: float) -> SimilarRows:
        """Finds the ``request.count`` items nearest to one, without that one.

        Raises:
            StageFailure: It did not answer.
            InvalidField: It refuses the request; the caller is told.
        """


class Ranking(Protocol[C_contra]):
    """The ranking stage."""

    def rank(
        self,
        request: RecommendRequest,
        person: Person,
        candidates: C_contra,
        *,
        generation: int,
        timeout_seconds: float,
        history_weights: Sequence[float] = (),
        pinned_rows: Sequence[int] = (),
    ) -> Ranked:
        """Selects ``request.count`` of the candidates.

        Args:
            request: What is asked.
            person: Whose history it is.
            candidates: As retrieval gave them.
            generation: Whose rows they are.
            timeout_seconds: How long it may take.
            history_weights: As retrieval told them, for explanations; none by default.
            pinned_rows: Rows that stand first when they are candidates; none by default.

        Raises:
            StageFailure: It did not answer.
            InvalidField: It refuses the request; the caller is told.
        """


class Route(NamedTuple, Generic[C]):
    """Whom one request asks, all for one generation.

    Args:
        catalogue: The generation, as the gateway holds it.
        retrieval: The first stage; raises NoCommonGeneration when it is known to hold no generation of the gateway's.
        ranking: The second stage; likewise.
    """

    catalogue: Catalogue
    retrieval: Retrieval[C]
    ranking: Ranking[C]


class SimilarRoute(NamedTuple):
    """Whom a request for similar items asks; fields as of :class:`Route`."""

    catalogue: Catalogue
    retrieval: Similarity


class RecommendRoutes(Protocol[C]):
    """Chooses the generation of each request for recommendations."""

    def choose(self, generation: int | None = None) -> Route[C]:
        """Chooses for a recommendation; never fails, for what nobody can answer fails when it is asked.

        Args:
            generation: Chosen when all hold it; else, and when None, the choice is as ever.
        """

    def held(self, number: int) -> Catalogue | None:
        """A generation of the gateway's own; None when it does not hold it, or no longer."""


class SimilarRoutes(Protocol):
    """Chooses the generation of each request for similar items."""

    def choose_similar(self, item_id: str) -> SimilarRoute:
        """Chooses for items similar to one: a generation that has it, where one has; ranking need not hold it."""


class Routes(RecommendRoutes[C], SimilarRoutes, Protocol[C]):
    """Chooses the generation of each request."""
