"""What a caller gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from gateway.engine.ladder import Rung
from gateway.engine.plan import Arm

_NO_SCORES: Mapping[str, float] = MappingProxyType({})
_NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})
_NO_RANKS: Mapping[str, int] = MappingProxyType({})

# What a request has dozens of is a named tuple: a frozen dataclass takes several times as long to make.


class ShortfallReason(Enum):
    """Why a list is shorter than asked for; names as in the contract."""

    UNSPECIFIED = 0
    CATALOGUE_TOO_SMALL = 1
    EXCLUDED = 2
    SELECTION_POLICY = 3
    TOO_FEW_CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class Shortfall:
    """How many items are missing, at least 1, and why."""

    missing_count: int
    reason: ShortfallReason


class Timing(NamedTuple):
    """How long one step took.

    Args:
        stage: The step.
        compute_ms: Milliseconds inside the step's own process.
        transport_ms: Milliseconds on the way there and back; 0 for a step that is no call.
    """

    stage: str
    compute_ms: float
    transport_ms: float = 0.0


class Trace(NamedTuple):
    """How each stage moved an item; ranks count from 1, and ``ranking_rank`` is 0 when ranking did not answer.

    ``source_ranks`` has the item's rank in each candidate source that brought it, by the source's name; ``steps`` what
    each stage did to it, in words, in order.
    """

    retrieval_score: float = 0.0
    retrieval_rank: int = 0
    ranking_rank: int = 0
    final_rank: int = 0
    source_ranks: Mapping[str, int] = _NO_RANKS
    steps: Sequence[str] = ()


class Explanation(NamedTuple):
    """What one item of a person's history did for a recommendation; fields as in the contract.

    Args:
        item_id: The history's item.
        title: Its title, empty when unknown.
        attention: The part of the user vector that comes from it, 0..1; 0 when retrieval did not tell.
        similarity: item vector · item vector.
        retrieval_part: attention · similarity.
        ranking_effect: How much the blended log odds fall without it.
    """

    item_id: str
    title: str
    attention: float
    similarity: float
    retrieval_part: float
    ranking_effect: float


class Recommendation(NamedTuple):
    """One recommended item; fields as in the contract.

    Args:
        item_id: Its id.
        score: What the list is ordered by, higher is better.
        title: Its title, empty when unknown.
        action_scores: The probability of each action, empty when ranking did not answer.
        attributes: The attributes asked for, as text.
        sources: The candidate sources that found it.
        reasons: Why, in words, when asked for.
        candidate_rank: Its position among the candidates, from 1; 0 when it was no candidate.
        trace: How each stage moved it, when asked for.
        explanations: Which recent items carried it, those that did most first, when asked for.
        propensity: The probability with which it was shown at its position, given what the gateway knew, above 0.
        team: The arm whose ranking brought it, where two are interleaved.
    """

    item_id: str
    score: float
    title: str = ""
    action_scores: Mapping[str, float] = _NO_SCORES
    attributes: Mapping[str, str] = _NO_ATTRIBUTES
    sources: Sequence[str] = ()
    reasons: Sequence[str] = ()
    candidate_rank: int = 0
    trace: Trace | None = None
    explanations: Sequence[Explanation] = ()
    propensity: float = 1.0
    team: str = ""


@dataclass(frozen=True, slots=True)
class RecommendResponse:
    """An answer: ``len(recommendations) + shortfall.missing_count`` is what was asked for, always.

    Args:
        request_id: Names this answer.
        recommendations: Best first.
        shortfall: None when nothing is missing.
        generation: The generation of everything that answered.
        rung: How much of the system answered.
        rung_reason: Why the rung is not FULL, or what was left out on it; empty when nothing was.
        timings: Milliseconds by stage.
        unknown_item_count: How many ids of the history this generation does not know.
        ranker: The ranker that scored; empty when none did.
        arms: The experiments' arms that the request was in.
    """

    request_id: str
    recommendations: Sequence[Recommendation]
    shortfall: Shortfall | None
    generation: int
    rung: Rung
    rung_reason: str = ""
    timings: Sequence[Timing] = ()
    unknown_item_count: int = 0
    ranker: str = ""
    arms: Sequence[Arm] = ()
