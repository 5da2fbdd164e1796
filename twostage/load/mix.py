"""A mix of requests: which kinds in which shares, and what they are made of.

::

    shares: {known: 60, cold: 15, filters: 10, histories: 5, events: 8, similar: 2}
    count: 20
    filters:
      - [{attribute: language_code, any_of: [eng]}]
    events: {action: rated, values: [3, 4, 5]}

docs/load.md tells every key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twostage.load.material import Material
from twostage.load.requests import LoadRequest
from twostage.v1 import common_pb2, gateway_pb2

Kind = Literal["known", "cold", "filters", "histories", "events", "similar"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_FILE_BYTES = 1 << 20
"""A mix is written by people."""
_MAX_RECEIVED_CHARS = 80
# What is no YAML, nested too deeply, or has an explicit tag before what it does not fit.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
_Id = Annotated[str, Field(min_length=1, max_length=256)]
_Texts = Annotated[tuple[_Id, ...], Field(strict=False, max_length=100_000)]


class MixInvalid(ValueError):
    """A mix cannot be read, or lacks what its shares need; the message names field, expectation and what came."""


class RangeShape(BaseModel):
    """Bounds of a number, both inclusive."""

    model_config = _STRICT

    min: float | None = None
    max: float | None = None


class ConditionShape(BaseModel):
    """A condition, as a request has it."""

    model_config = _STRICT

    attribute: Annotated[str, Field(min_length=1, max_length=128)]
    any_of: Annotated[tuple[str, ...], Field(strict=False, max_length=1_000)] = ()
    none_of: Annotated[tuple[str, ...], Field(strict=False, max_length=1_000)] = ()
    range: RangeShape | None = None

    def message(self) -> common_pb2.Condition:
        """The condition for a request."""
        made = common_pb2.Condition(attribute=self.attribute, any_of=self.any_of, none_of=self.none_of)
        if self.range is not None:
            made.range.CopyFrom(common_pb2.Range(min=self.range.min, max=self.range.max))
        return made


class EventShape(BaseModel):
    """What people do.

    Attributes:
        action: The recorded action; with a store, what its people did when not given.
        values: One of them goes with each event; none when empty.
        per_request: Events in a request, 1..1,000.
    """

    model_config = _STRICT

    action: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    values: Annotated[tuple[float, ...], Field(strict=False, max_length=1_000)] = ()
    per_request: Annotated[int, Field(ge=1, le=1_000)] = 1


class Mix(BaseModel):
    """A mix, as its file has it.

    Attributes:
        shares: How much of each kind, above 0; they need not sum to anything.
        count: Recommendations a request, 1..200.
        users: Known people; those of the store when empty.
        items: Items for histories, events and similar ones; those in the store's histories when empty.
        tags: Interests of cold people, one each; none when empty.
        history_lengths: How long histories given in requests are, one of these, 1..1,000 each.
        filters: One of them goes with each request of ``filters``; made from the store's attributes when empty.
        events: What people do.
        seed: The same seed draws the same requests.
    """

    model_config = _STRICT

    shares: Annotated[dict[Kind, Annotated[float, Field(gt=0, le=1e9)]], Field(min_length=1)]
    count: Annotated[int, Field(ge=1, le=200)] = 20
    users: _Texts = ()
    items: _Texts = ()
    tags: Annotated[tuple[_Id, ...], Field(strict=False, max_length=1_000)] = ()
    history_lengths: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000)], ...], Field(strict=False, min_length=1, max_length=100)
    ] = (5, 20, 50)
    filters: Annotated[
        tuple[Annotated[tuple[ConditionShape, ...], Field(strict=False, min_length=1, max_length=32)], ...],
        Field(strict=False, max_length=1_000),
    ] = ()
    events: EventShape = EventShape()
    seed: Annotated[int, Field(ge=0)] = 0


def read_mix(path: Path) -> Mix:
    """Reads a file of at most 1 MiB.

    Raises:
        MixInvalid: It cannot be read, or is no mix.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise MixInvalid(f"{path}: expected a file that can be read: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise MixInvalid(f"{path}: expected at most {MAX_FILE_BYTES} bytes, received more")
    try:
        return Mix.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise MixInvalid("\n".join(f"{path}: {each}" for each in _complaints(error))) from error
    except _UNREADABLE as error:
        raise MixInvalid(f"{path}: expected YAML: {' '.join(str(error).split())}") from error


def _complaints(error: ValidationError) -> Iterator[str]:
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"] if part != "[key]") or "the file"
        message = detail["msg"][0].lower() + detail["msg"][1:]
        received = repr(detail["input"])[:_MAX_RECEIVED_CHARS]
        yield f"{where}: {message}, received {received}"


class Drawer:
    """Draws requests of a mix.

    Args:
        mix: What is asked.
        material: What it is made of; what the mix names itself comes first.
        seed: Added to the mix's, for several who draw from one mix.

    Raises:
        MixInvalid: A share needs what neither of them has.
    """

    def __init__(self, mix: Mix, material: Material | None = None, *, seed: int = 0) -> None:
        material = material if material is not None else Material()
        self._mix = mix
        self._users: Sequence[str] = mix.users or material.users
        self._items: Sequence[str] = mix.items or material.items
        self._filters = [[each.message() for each in conditions] for conditions in mix.filters] or [
            [common_pb2.Condition(attribute=name, any_of=[value])] for name, value in material.values
        ]
        deeds = material.deeds
        if mix.events.action is not None or not deeds:
            action = mix.events.action or ""
            deeds = [(action, value) for value in mix.events.values] or [(action, None)]
        self._deeds = deeds
        self._random = np.random.default_rng([mix.seed, seed])
        self._kinds: list[Kind] = list(mix.shares)
        shares = np.array([mix.shares[kind] for kind in self._kinds])
        self._cumulated = np.cumsum(shares / shares.sum())
        for kind in self._kinds:
            self._check(kind)

    def _check(self, kind: Kind) -> None:
        needed: dict[Kind, dict[str, Sequence[object]]] = {
            "known": {"users": self._users},
            "filters": {"filters": self._filters},
            "histories": {"items": self._items},
            "events": {"users": self._users, "items": self._items, "events.action": self._deeds[0][0]},
            "similar": {"items": self._items},
        }
        for field, found in needed.get(kind, {}).items():
            if not found:
                raise MixInvalid(f"{field}: expected some for the share {kind!r}, received none; a store has some")

    def draw(self, count: int) -> list[LoadRequest]:
        """So many requests, kinds in random order."""
        return [self.one(self.kind()) for _ in range(count)]

    def kind(self) -> Kind:
        """A kind, by the shares."""
        position = int(np.searchsorted(self._cumulated, self._random.random(), side="right"))
        return self._kinds[min(position, len(self._kinds) - 1)]

    def one(self, kind: Kind) -> LoadRequest:
        """A request of a kind that has a share."""
        match kind:
            case "known":
                return LoadRequest(kind, self._recommend(user_id=self._any(self._users)))
            case "cold":
                # Nobody has such a name; each is new to whatever remembers people.
                tags = [self._any(self._mix.tags)] if self._mix.tags else []
                name = f"cold-{self._random.bytes(8).hex()}"
                return LoadRequest(kind, self._recommend(user_id=name, interest_tags=tags))
            case "filters":
                wanted = common_pb2.Filter(conditions=self._any(self._filters))
                user = self._any(self._users) if self._users else ""
                return LoadRequest(kind, self._recommend(user_id=user, filter=wanted))
            case "histories":
                length = self._any(self._mix.history_lengths)
                return LoadRequest(
                    kind, self._recommend(recent_item_ids=[self._any(self._items) for _ in range(length)])
                )
            case "events":
                return LoadRequest(kind, self._events())
            case "similar":
                item = self._any(self._items)
                message = gateway_pb2.RecommendationServiceSimilarItemsRequest(item_id=item, count=self._mix.count)
                return LoadRequest(kind, message)

    def _recommend(self, **fields: Any) -> gateway_pb2.RecommendRequest:
        return gateway_pb2.RecommendRequest(count=self._mix.count, **fields)

    def _events(self) -> gateway_pb2.RecordEventsRequest:
        events = []
        for _ in range(self._mix.events.per_request):
            action, value = self._any(self._deeds)
            event = gateway_pb2.Event(user_id=self._any(self._users), item_id=self._any(self._items), action=action)
            if value is not None:
                event.value = value
            events.append(event)
        return gateway_pb2.RecordEventsRequest(events=events)

    def _any(self, choices: Sequence[Any]) -> Any:
        return choices[int(self._random.integers(len(choices)))]
