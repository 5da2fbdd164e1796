"""RecordEvents: which events are taken and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from gateway.engine.catalogue import Catalogue
from gateway.engine.person import MAX_VALUE
from gateway.users.store import NewEvent
from twostage.errors import InvalidField
from twostage.messages.bounds import MAX_ATTRIBUTE_BYTES, MAX_ID_BYTES, check_length, checked_text, checked_time
from twostage.v1 import gateway_pb2

MAX_EVENT_COUNT = 1_000


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that is not taken: its position, its id and why."""

    index: int
    event_id: str
    reason: str


class EventReader:
    """Checks events one by one against the generations held: what any of them knows is known.

    Args:
        catalogues: The generations, the active one first; at least one.
    """

    def __init__(self, catalogues: Sequence[Catalogue]) -> None:
        self._catalogues = catalogues
        self._actions = dict.fromkeys(name for catalogue in catalogues for name in catalogue.actions)

    def read(
        self, messages: Sequence[gateway_pb2.Event], now_seconds: Callable[[], float]
    ) -> tuple[list[NewEvent], list[Rejection]]:
        """Splits events into those that are taken and those that are not.

        Args:
            messages: As they came.
            now_seconds: Unix time, for events that do not say when they happened.

        Raises:
            InvalidField: There is none, or there are more than 1,000.
        """
        check_length("events", messages, MAX_EVENT_COUNT, least=1)
        unknown = self._unknown({message.item_id for message in messages})
        now = int(now_seconds())
        events: list[NewEvent] = []
        rejections: list[Rejection] = []
        for index, message in enumerate(messages):
            try:
                events.append(self._read_event(message, unknown, now))
            except InvalidField as error:
                rejections.append(Rejection(index, message.event_id[:MAX_ATTRIBUTE_BYTES], error.message))
        return events, rejections

    def _unknown(self, item_ids: set[str]) -> frozenset[str]:
        """Those that no generation knows; older ones are only asked about what newer ones lack."""
        unknown = sorted(item_ids)
        for catalogue in self._catalogues:
            if not unknown:
                break
            rows = catalogue.generation.ids.rows(unknown).tolist()
            unknown = [item_id for item_id, row in zip(unknown, rows, strict=True) if row < 0]
        return frozenset(unknown)

    def _read_event(self, message: gateway_pb2.Event, unknown: frozenset[str], now: int) -> NewEvent:
        value = message.value if message.HasField("value") else None
        # Not a comparison by > alone: NaN must be refused too.
        if value is not None and not -MAX_VALUE <= value <= MAX_VALUE:
            raise InvalidField("value", "a finite number that a 32-bit float holds", value)
        item_id = checked_text("item_id", message.item_id, MAX_ID_BYTES, least=1)
        if item_id in unknown:
            numbers = " or ".join(str(catalogue.number) for catalogue in self._catalogues)
            raise InvalidField("item_id", f"an item of generation {numbers}", item_id)
        if message.action not in self._actions:
            raise InvalidField("action", f"one of {_listed(self._actions)}", message.action)
        return NewEvent(
            event_id=checked_text("event_id", message.event_id, MAX_ATTRIBUTE_BYTES, least=1),
            user_id=checked_text("user_id", message.user_id, MAX_ID_BYTES, least=1),
            item_id=item_id,
            action=message.action,
            value=value,
            time_seconds=checked_time("time", message.time.seconds) if message.HasField("time") else now,
            request_id=checked_text("request_id", message.request_id, MAX_ATTRIBUTE_BYTES),
        )


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def write_record_response(accepted_count: int, rejections: Iterable[Rejection]) -> gateway_pb2.RecordEventsResponse:
    """Writes which events were recorded."""
    return gateway_pb2.RecordEventsResponse(
        accepted_count=accepted_count,
        rejected=[
            gateway_pb2.RejectedEvent(index=each.index, event_id=each.event_id, reason=each.reason)
            for each in rejections
        ],
    )
