"""What an experiment's arm can say about how its requests are answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twostage.candidates.source import Source

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
"""A file says what it means: no unknown keys, no text for numbers, no true for 1."""

_SOURCES = tuple(source.name.lower() for source in Source if source.name and source is not Source.INCLUDED)
_MAX_CANDIDATES = 2_000

_Quota = Annotated[int, Field(ge=0, le=_MAX_CANDIDATES)]
_Weight = Annotated[float, Field(ge=0, le=1e6)]
_Share = Annotated[float, Field(ge=0, le=1)]
_ActionName = Annotated[str, Field(min_length=1, max_length=64)]


class ExplorationParameters(BaseModel):
    """How much of an answer is shown by chance.

    Attributes:
        epsilon: The probability with which an explored position gets an item by chance, 0..1.
        share: The part of the positions that may be explored, 0..1, counted from the end; 0.2 by default.
        pool_count: By chance means: evenly among so many items that follow the answer, 1..1,000; 50 by default.
    """

    model_config = STRICT

    epsilon: _Share
    share: _Share = 0.2
    pool_count: Annotated[int, Field(ge=1, le=1_000)] = 50


class Parameters(BaseModel):
    """What an arm overrides; what is not named stays as the gateway, the bundle or another experiment has it.

    Attributes:
        sources: The most candidates by source, 0..2,000 each; sources that are absent are not bounded.
        candidates: How many candidates retrieval is asked for, 1..2,000.
        blend: How much each action counts, 0 or more, one of them above 0.
        diversity: How strongly a list is spread, 0..1.
        ranker: A ranker of the bundle.
        generation: Answer from this generation when it is held by all services.
        exploration: What is shown by chance.
    """

    model_config = STRICT

    sources: dict[Literal[_SOURCES], _Quota] | None = None  # type: ignore[valid-type] # Literal of what Source has
    candidates: Annotated[int, Field(ge=1, le=_MAX_CANDIDATES)] | None = None
    blend: Annotated[dict[_ActionName, _Weight], Field(max_length=32)] | None = None
    diversity: _Share | None = None
    ranker: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    generation: Annotated[int, Field(ge=1)] | None = None
    exploration: ExplorationParameters | None = None

    @field_validator("blend")
    @classmethod
    def _something_counts(cls, blend: dict[str, float] | None) -> dict[str, float] | None:
        if blend is not None and not any(blend.values()):
            raise ValueError("at least one weight above 0")
        return blend

    @property
    def names(self) -> frozenset[str]:
        """The parameters that are overridden."""
        return frozenset(name for name in type(self).model_fields if getattr(self, name) is not None)


RIVAL_PARAMETERS = frozenset({"blend", "diversity", "ranker"})
"""What two interleaved rankings may differ in: both rank the same candidates of the same generation."""
