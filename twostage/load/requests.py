"""What a load sends: requests of the gateway's methods, each of a kind that its outcome is told by."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import grpc

from twostage.gateway_access import GatewayAccess
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

Message: TypeAlias = (
    gateway_pb2.RecommendRequest
    | gateway_pb2.RecommendationServiceSimilarItemsRequest
    | gateway_pb2.RecordEventsRequest
)
BROKEN = "BROKEN_ANSWER"
"""An answer whose items and shortfall are not what was asked for; it counts as an error."""
REJECTED = "REJECTED_EVENTS"
"""An answer to RecordEvents that did not take all of them; it counts as an error."""
ACCEPTED = "ACCEPTED"
"""All events were taken."""
_DEFAULT_COUNT = 20
_TYPES: dict[str, type[Message]] = {
    "Recommend": gateway_pb2.RecommendRequest,
    "SimilarItems": gateway_pb2.RecommendationServiceSimilarItemsRequest,
    "RecordEvents": gateway_pb2.RecordEventsRequest,
}
_METHODS: dict[type[Message], str] = {message: method for method, message in _TYPES.items()}
_KINDS = {"Recommend": "recommend", "SimilarItems": "similar", "RecordEvents": "events"}


class LoadRequest(NamedTuple):
    """One request.

    Args:
        kind: What it stands for, e.g. ``known`` or ``cold``; outcomes are told by it.
        message: What is sent. Events get a new event_id and the time whenever they are sent.
    """

    kind: str
    message: Message

    @property
    def method(self) -> str:
        """The gateway's method that takes it."""
        return _METHODS[type(self.message)]

    def packed(self) -> tuple[str, str, bytes]:
        """As it travels to another process; see `unpacked`."""
        return self.kind, self.method, self.message.SerializeToString()

    @classmethod
    def unpacked(cls, packed: tuple[str, str, bytes]) -> LoadRequest:
        """What `packed` made of a request."""
        kind, method, text = packed
        return cls(kind, _TYPES[method].FromString(text))


def load_requests(requests: Sequence[Message | LoadRequest]) -> list[LoadRequest]:
    """Requests with their kinds; a bare message is of the kind ``recommend``, ``similar`` or ``events``."""
    return [
        each if isinstance(each, LoadRequest) else LoadRequest(_KINDS[_METHODS[type(each)]], each) for each in requests
    ]


def load_channel(access: GatewayAccess, address: str) -> grpc.Channel:
    """Opens a channel whose calls go in turn to every address that the gateway's name has.

    gRPC's own choice is the first one alone, and a load would show one pod.
    """
    return access.channel(address, [("grpc.lb_policy_name", "round_robin")])


class Verdict(NamedTuple):
    """What an answer is.

    Args:
        name: Its rung, e.g. ``RUNG_FULL``; `ACCEPTED`, `REJECTED` or `BROKEN`.
        answered: False for the last two.
        missing_count: How many items its shortfall says are missing.
    """

    name: str
    answered: bool
    missing_count: int


def judge(request: Message, answer: Any) -> Verdict:
    """Looks at what must hold of every answer: as many items as were asked for, or a shortfall of the rest."""
    if isinstance(request, gateway_pb2.RecordEventsRequest):
        taken = answer.accepted_count == len(request.events)
        return Verdict(ACCEPTED if taken else REJECTED, taken, 0)
    similar = isinstance(request, gateway_pb2.RecommendationServiceSimilarItemsRequest)
    items = answer.items if similar else answer.recommendations
    wanted = request.count if request.HasField("count") else _DEFAULT_COUNT
    missing = answer.shortfall.missing_count
    # A shortfall of nothing is none, and says less than no shortfall.
    if len(items) + missing != wanted or (missing < 1 and answer.HasField("shortfall")):
        return Verdict(BROKEN, False, missing)
    known = answer.rung in gateway_pb2.Rung.values()
    # A newer gateway may stand on a rung that this program has no name of.
    return Verdict(gateway_pb2.Rung.Name(answer.rung) if known else f"RUNG_{answer.rung}", True, missing)


class Sender:
    """Sends requests to a gateway without waiting for their answers.

    Args:
        channel: To the gateway.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        self._calls: dict[str, Callable[..., Any]] = {method: getattr(stub, method).future for method in _TYPES}
        # The same event twice is stored once, and would be no load on the store.
        self._run = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()

    def send(self, request: LoadRequest, timeout_seconds: float) -> Any:
        """Sends one request.

        Returns:
            A ``grpc.Future`` of the method's answer.
        """
        return self._calls[request.method](self.renewed(request.message), timeout=timeout_seconds)

    def renewed(self, message: Message) -> Message:
        """The message, or events of now where it is of events."""
        if not isinstance(message, gateway_pb2.RecordEventsRequest):
            return message
        copy = gateway_pb2.RecordEventsRequest()
        copy.CopyFrom(message)
        for event in copy.events:
            event.event_id = f"load-{self._run}-{next(self._numbers)}"
            event.time.GetCurrentTime()
        return copy
