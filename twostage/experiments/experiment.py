"""One experiment as the file describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from twostage.experiments.parameters import RIVAL_PARAMETERS, STRICT, Parameters

BUCKET_COUNT = 1_000_000
"""Into so many equal parts a layer divides its units."""
INTERLEAVED = "interleaved"
"""The arm that requests of an interleaved experiment are in: they see both."""

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
_Bucket = Annotated[int, Field(ge=0, le=BUCKET_COUNT)]
_Values = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(strict=False, min_length=1)]


class Condition(BaseModel):
    """Which requests an experiment is about, by their context; all that is given must hold.

    Attributes:
        surface: One of these, exactly.
        device: One of these, exactly.
        locale: One of these language ranges, as ``de``, which ``de-AT`` is within (RFC 4647, section 3.3.1).
    """

    model_config = STRICT

    surface: _Values | None = None
    device: _Values | None = None
    locale: _Values | None = None

    def holds(self, surface: str, device: str, locale: str) -> bool:
        """Whether a request with this context is meant."""
        return (
            (self.surface is None or surface in self.surface)
            and (self.device is None or device in self.device)
            and (self.locale is None or any(within(locale, each) for each in self.locale))
        )

    def excludes(self, other: Condition) -> bool:
        """Whether no request can meet both."""
        for mine, theirs in ((self.surface, other.surface), (self.device, other.device)):
            if mine is not None and theirs is not None and not set(mine) & set(theirs):
                return True
        if self.locale is None or other.locale is None:
            return False
        return not any(within(a, b) or within(b, a) for a in self.locale for b in other.locale)


def within(locale: str, language_range: str) -> bool:
    """Whether a BCP 47 tag is within a basic language range."""
    locale, language_range = locale.lower(), language_range.lower()
    return locale == language_range or locale.startswith(language_range + "-")


class ArmEntry(BaseModel):
    """One way of answering.

    Attributes:
        name: Named so in answers and in the log; ``interleaved`` is taken.
        weight: Its part of the units in proportion to the other arms', above 0; 1 by default.
        parameters: What it overrides; nothing by default, as a control does.
    """

    model_config = STRICT

    name: Name
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    parameters: Parameters = Parameters()

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == INTERLEAVED:
            raise ValueError(f"another name than {INTERLEAVED!r}, which stands for both arms together")
        return name


class Experiment(BaseModel):
    """One experiment.

    Attributes:
        name: Named so in answers and in the log.
        kind: ``ab`` gives each unit one arm; ``interleave`` shows everybody both arms' rankings in one answer.
        layer: Experiments of one layer share out its units; each unit is in at most one of them. ``default`` when
            unset.
        unit: What is assigned: ``user_id``, and requests without one are in no arm; or ``request``, each anew.
        salt: Who is in which arm depends on it alone; the name when unset.
        traffic: The part of the layer's units, above 0; all of them when neither it nor ``buckets`` is given. Placed
            in the first gap of the layer, in the file's order.
        buckets: Instead of ``traffic``: the first bucket of the layer and the one past the last, 0..1,000,000.
        where: Which requests; all when unset.
        enabled: False answers everybody as if it were not there and keeps its buckets; True by default.
        arms: One or more for ``ab``, exactly two for ``interleave``; the first is the control.
    """

    model_config = STRICT

    name: Name
    kind: Literal["ab", "interleave"] = "ab"
    layer: Name = "default"
    unit: Literal["user_id", "request"] = "user_id"
    salt: Annotated[str, Field(min_length=1, max_length=128)] = ""
    traffic: Annotated[float, Field(gt=0, le=1)] | None = None
    buckets: Annotated[tuple[_Bucket, _Bucket], Field(strict=False)] | None = None
    where: Condition = Condition()
    enabled: bool = True
    arms: Annotated[tuple[ArmEntry, ...], Field(strict=False, min_length=1, max_length=20)]

    @field_validator("buckets")
    @classmethod
    def _not_empty(cls, buckets: tuple[int, int] | None) -> tuple[int, int] | None:
        if buckets is not None and buckets[0] >= buckets[1]:
            raise ValueError("the first bucket below the one past the last")
        return buckets

    @field_validator("arms")
    @classmethod
    def _names_differ(cls, arms: tuple[ArmEntry, ...]) -> tuple[ArmEntry, ...]:
        names = [arm.name for arm in arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"each name once, not {name!r} {names.count(name)} times")
        return arms

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        if self.traffic is not None and self.buckets is not None:
            raise ValueError("traffic or buckets, not both")
        if self.kind == "interleave":
            self._check_rivals()
        return self

    def _check_rivals(self) -> None:
        if len(self.arms) != 2:
            raise ValueError(f"two arms to interleave, not {len(self.arms)}")
        first, second = self.arms
        for arm in self.arms:
            unfit = sorted(arm.parameters.names - RIVAL_PARAMETERS)
            if unfit:
                raise ValueError(
                    f"arms of an interleaved experiment that override {', '.join(sorted(RIVAL_PARAMETERS))} alone, "
                    f"not {', '.join(unfit)} (arm {arm.name!r})"
                )
            if "weight" in arm.model_fields_set:
                raise ValueError(f"no weights where both arms are in every answer (arm {arm.name!r})")
        if first.parameters == second.parameters:
            raise ValueError("arms that differ, for the same ranking cannot be interleaved with itself")

    @property
    def hash_salt(self) -> str:
        """What the arms are drawn with."""
        return self.salt or self.name

    @property
    def overridden(self) -> frozenset[str]:
        """The parameters that any of its arms overrides.

        An interleaved answer has two rankings in it and explores nothing, so it takes hold of the exploration too; by
        this two interleaved experiments meet as well.
        """
        stated: frozenset[str] = frozenset().union(*(arm.parameters.names for arm in self.arms))
        return stated | {"exploration"} if self.kind == "interleave" else stated
