"""What the gateway needs of the two stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Shortfall, Timing
from gateway.engine.similar import SimilarRequest, SimilarRows


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


C = TypeVar("C", bound=Candidates)
C_contra = TypeVar("C_contra", bound=Candidates, contravariant=True)


@dataclass(frozen=True, slots=True)
class Retrieved(Generic[C]):
    """An answer of retrieval.

    Args:
        candidates: Best first.
        shortfall: None when as many were found as asked for.
        timings: The call first, then the steps inside it.
    """

    candidates: C
    shortfall: Shortfall | None
    timings: Sequence[Timing]


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


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer of ranking.

    Args:
        items: Best first.
        timings: The call first, then the steps inside it.
    """

    items: Sequence[RankedItem]
    timings: Sequence[Timing]


class Retrieval(Protocol[C]):
    """The retrieval stage."""

    def retrieve(
        self, request: RecommendRequest, person: Person, *, generation: int, count: int, timeout_seconds: float
    ) -> Retrieved[C]:
        """Finds ``count`` candidates.

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
    ) -> Ranked:
        """Selects ``request.count`` of the candidates.

        Raises:
            StageFailure: It did not answer.
            InvalidField: It refuses the request; the caller is told.
        """
