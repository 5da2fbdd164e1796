"""The Python client of the gateway.

::

    with Client("127.0.0.1:50050") as client:
        answer = client.recommend("user-7", count=10)
        for recommendation in answer.recommendations:
            print(recommendation.title, recommendation.score)

    Client("gateway.example:443", tls_ca=Path("ca.pem"), api_key=os.environ["SHOP_API_KEY"])
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from twostage.gateway_access import AccessInvalid, GatewayAccess
from twostage.rpc.errors import error_info
from twostage.rpc.gateway_channel import gateway_channel_options
from twostage.rpc.tracing.caller import trace_of_caller
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc

# As the servers' own, twostage.rpc.settings, which commands do without.
_MAX_MESSAGE_BYTES = 20 * 2**20


class CallFailed(Exception):
    """The gateway did not answer a call.

    ::

        CallFailed
        ├── InvalidRequest       a field breaks the contract; the message names it
        ├── NotFound             what was asked for by name does not exist; the message names it
        ├── Unauthenticated      no or wrong credentials
        ├── PermissionDenied     known, and not allowed
        ├── GatewayUnavailable   nobody answers at the address, or the gateway is loading or stopping
        └── DeadlineExceeded     no answer in the time given

    Args:
        message: One line for a person.
        code: The gRPC status code.
        reason: The ErrorInfo's reason, e.g. ``INVALID_FIELD``; empty when the gateway gave none.
    """

    def __init__(self, message: str, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class InvalidRequest(CallFailed):
    """A field breaks the contract; the message names it, what was expected and what came."""


class NotFound(CallFailed):
    """What was asked for by name does not exist; the message names it."""


class Unauthenticated(CallFailed):
    """The gateway wants credentials, and none or wrong ones came."""


class PermissionDenied(CallFailed):
    """The gateway knows who asks, and they may not."""


class GatewayUnavailable(CallFailed):
    """Nobody answers at the address, or the gateway is loading or stopping."""


class DeadlineExceeded(CallFailed):
    """No answer came in the time given."""


_BY_CODE: dict[grpc.StatusCode, type[CallFailed]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAVAILABLE: GatewayUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def new_event(
    user_id: str, item_id: str, action: str, *, value: float | None = None, event_id: str = "", request_id: str = ""
) -> gateway_pb2.Event:
    """Makes an event of now.

    Args:
        user_id: Who.
        item_id: With what.
        action: What, e.g. ``rated``.
        value: E.g. stars; None where the action has none.
        event_id: Names the event, so that it may be sent twice and counts once; a random name when empty.
        request_id: The answer that showed the item, when there was one.
    """
    event = gateway_pb2.Event(
        event_id=event_id or uuid.uuid4().hex, user_id=user_id, item_id=item_id, action=action, request_id=request_id
    )
    event.time.GetCurrentTime()
    if value is not None:
        event.value = value
    return event


class Client:
    """A connection to a gateway; safe to use from several threads.

    Args:
        address: ``host:port`` of the gateway, 127.0.0.1:50050 by default; ``dns:///name:port`` for several, every
            address of the name being one (docs/balancing.md).
        timeout_seconds: How long a call may take, 2 by default.
        access: TLS and credentials, instead of the arguments that follow; nothing encrypted and nobody in particular
            by default.
        tls: As the following, `GatewayAccess`'s field of this name.
        tls_ca: Likewise.
        tls_certificate: Likewise.
        tls_key: Likewise.
        tls_server_name: Likewise.
        api_key: Likewise.
        token: Likewise.

    Raises:
        AccessInvalid: TLS or credentials are not what they should be.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50050",
        *,
        timeout_seconds: float = 2.0,
        access: GatewayAccess | None = None,
        tls: bool | None = None,
        tls_ca: Path | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
        tls_server_name: str | None = None,
        api_key: str | None = None,
        token: str | Callable[[], str] | None = None,
    ) -> None:
        self.address = address
        self.timeout_seconds = timeout_seconds
        parts = GatewayAccess(tls, tls_ca, tls_certificate, tls_key, tls_server_name, api_key, token)
        if access is not None and parts != GatewayAccess():
            raise AccessInvalid("access: expected none beside arguments for TLS and credentials, received one")
        self._channel = (access or parts).channel(address, gateway_channel_options(address, _MAX_MESSAGE_BYTES))
        self._stub = gateway_pb2_grpc.RecommendationServiceStub(self._channel)

    def recommend(
        self,
        user_id: str = "",
        *,
        recent_item_ids: Sequence[str] = (),
        interest_tags: Sequence[str] = (),
        count: int | None = None,
        context: common_pb2.Context | None = None,
        condition_filter: common_pb2.Filter | None = None,
        exclude_item_ids: Sequence[str] = (),
        include_seen: bool = False,
        diversity: common_pb2.Diversity | None = None,
        attributes: Sequence[str] = (),
        explain: bool = False,
        trace: bool = False,
        ranker: str = "",
        blend: Mapping[str, float] | None = None,
        pinned_item_ids: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> gateway_pb2.RecommendResponse:
        """Asks for recommendations; every argument is the request's field of that name, ``filter`` excepted.

        Args:
            user_id: Who; empty for nobody in particular.
            recent_item_ids: The history for this request, oldest first; replaces the stored one when given.
            interest_tags: What a person without a history cares for.
            count: How many, 1..200; the gateway's 20 when None.
            context: Where and when.
            condition_filter: Which items may be recommended.
            exclude_item_ids: Items not to recommend.
            include_seen: True lets items through that the person has already seen.
            diversity: How the list is spread.
            attributes: Attributes to return with each item.
            explain: True asks for reasons with each item, in words and in numbers.
            trace: True asks how each stage moved each item.
            ranker: A ranker of the bundle; its default when empty.
            blend: How much each action counts, by name, 0 or more; the ranker's own weights when None or empty.
            pinned_item_ids: Items that stand first, in this order, unless they are excluded.
            timeout_seconds: How long this call may take; the client's own when None.

        Raises:
            CallFailed: The gateway did not answer; see its subclasses.
        """
        request = gateway_pb2.RecommendRequest(
            user_id=user_id,
            recent_item_ids=recent_item_ids,
            interest_tags=interest_tags,
            count=count,
            context=context,
            filter=condition_filter,
            exclude_item_ids=exclude_item_ids,
            include_seen=include_seen,
            diversity=diversity,
            attributes=attributes,
            explain=explain,
            trace=trace,
            ranker=ranker,
            blend=blend,
            pinned_item_ids=pinned_item_ids,
        )
        response: gateway_pb2.RecommendResponse = self._call(self._stub.Recommend, request, timeout_seconds)
        return response

    def similar_items(
        self,
        item_id: str,
        *,
        count: int | None = None,
        condition_filter: common_pb2.Filter | None = None,
        exclude_item_ids: Sequence[str] = (),
        attributes: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> gateway_pb2.RecommendationServiceSimilarItemsResponse:
        """Asks for items that are like one; every argument is the request's field of that name, ``filter`` excepted.

        Args:
            item_id: Like which.
            count: How many, 1..200; the gateway's 20 when None.
            condition_filter: Which items may be answered.
            exclude_item_ids: Items not to answer, beside the item itself.
            attributes: Attributes to return with each item.
            timeout_seconds: How long this call may take; the client's own when None.

        Raises:
            NotFound: The gateway knows no such item.
            CallFailed: The gateway did not answer; see its subclasses.
        """
        request = gateway_pb2.RecommendationServiceSimilarItemsRequest(
            item_id=item_id,
            count=count,
            filter=condition_filter,
            exclude_item_ids=exclude_item_ids,
            attributes=attributes,
        )
        response: gateway_pb2.RecommendationServiceSimilarItemsResponse = self._call(
            self._stub.SimilarItems, request, timeout_seconds
        )
        return response

    def record(
        self, events: Iterable[gateway_pb2.Event], *, timeout_seconds: float | None = None
    ) -> gateway_pb2.RecordEventsResponse:
        """Records what people did, 1 to 1,000 events; see :func:`new_event`. May be repeated after a failure.

        Raises:
            CallFailed: The gateway did not answer. An event that it rejects is listed in the response instead.
        """
        request = gateway_pb2.RecordEventsRequest(events=events)
        response: gateway_pb2.RecordEventsResponse = self._call(self._stub.RecordEvents, request, timeout_seconds)
        return response

    def explain(
        self,
        item_id: str,
        request: gateway_pb2.RecommendRequest | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> gateway_pb2.ExplainResponse:
        """Asks why an item is where it is in an answer, or which stage and rule lost it.

        Args:
            item_id: Which item.
            request: What was asked, or would be; nobody in particular when None.
            timeout_seconds: How long this call may take; the client's own when None.

        Raises:
            NotFound: The generation that answers has no such item.
            PermissionDenied: The gateway does not explain, or not to this client.
            CallFailed: The gateway did not answer; see its subclasses.
        """
        message = gateway_pb2.ExplainRequest(request=request, item_id=item_id)
        response: gateway_pb2.ExplainResponse = self._call(self._stub.Explain, message, timeout_seconds)
        return response

    def get_user(
        self, user_id: str, *, max_event_count: int | None = None, timeout_seconds: float | None = None
    ) -> gateway_pb2.GetUserResponse:
        """Asks what is stored about a person.

        Args:
            user_id: Who.
            max_event_count: The most events to return, 0..10,000, the newest; the gateway's 1,000 when None.
            timeout_seconds: How long this call may take; the client's own when None.

        Raises:
            NotFound: Nothing is stored of them.
            CallFailed: The gateway did not answer; see its subclasses.
        """
        request = gateway_pb2.GetUserRequest(user_id=user_id, max_event_count=max_event_count)
        response: gateway_pb2.GetUserResponse = self._call(self._stub.GetUser, request, timeout_seconds)
        return response

    def delete_user(self, user_id: str, *, timeout_seconds: float | None = None) -> gateway_pb2.DeleteUserResponse:
        """Removes a person and everything they did, at once and for good.

        May be repeated after a failure: NotFound then says that they are gone.

        Raises:
            NotFound: Nothing is stored of them.
            CallFailed: The gateway did not answer; see its subclasses.
        """
        request = gateway_pb2.DeleteUserRequest(user_id=user_id)
        response: gateway_pb2.DeleteUserResponse = self._call(self._stub.DeleteUser, request, timeout_seconds)
        return response

    def status(self, *, timeout_seconds: float | None = None) -> gateway_pb2.RecommendationServiceGetStatusResponse:
        """Asks what the gateway and the stages behind it hold.

        Raises:
            CallFailed: The gateway did not answer. A stage that does not answer is listed in the response instead.
        """
        request = gateway_pb2.RecommendationServiceGetStatusRequest()
        response: gateway_pb2.RecommendationServiceGetStatusResponse = self._call(
            self._stub.GetStatus, request, timeout_seconds
        )
        return response

    def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Any], request: Message, timeout_seconds: float | None) -> Any:
        timeout = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return method(request, timeout=timeout, metadata=trace_of_caller())
        except grpc.RpcError as error:
            raise self._translated(error, error) from error

    def _translated(self, error: grpc.RpcError, call: object) -> CallFailed:
        # What stubs raise is both an RpcError and a Call; the type stubs cannot say so.
        code = call.code() if isinstance(call, grpc.Call) else grpc.StatusCode.UNKNOWN
        details = (call.details() if isinstance(call, grpc.Call) else None) or "no reason given"
        found = error_info(error)
        kind = _BY_CODE.get(code, CallFailed)
        place = "" if kind in (InvalidRequest, NotFound) else f"gateway at {self.address}: {code.name}: "
        return kind(place + " ".join(details.split()), code, found.reason if found is not None else "")
