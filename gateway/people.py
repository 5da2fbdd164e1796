"""GetUser and DeleteUser: what is stored about a person, and its removal."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.users.store import MAX_KEPT_EVENT_COUNT, KeptEvent, UserStore, UserStoreUnavailable
from twostage.errors import NotReady, UserNotFound
from twostage.messages.bounds import MAX_ID_BYTES, checked_count, checked_text
from twostage.v1 import gateway_pb2

DEFAULT_EVENT_COUNT = 1_000
"""How many events GetUser returns when it is not told."""


class People:
    """Shows and removes what is stored about people.

    Args:
        users: What people did.
        forget_answers: Drops what was remembered of answers to a person.
    """

    def __init__(self, users: UserStore, forget_answers: Callable[[str], object]) -> None:
        self._users = users
        self._forget_answers = forget_answers

    def get(self, request: gateway_pb2.GetUserRequest) -> gateway_pb2.GetUserResponse:
        """Answers GetUser.

        Raises:
            InvalidField: The id or the count is outside its bounds.
            UserNotFound: Nothing is stored of them.
            NotReady: The store cannot be read.
        """
        user_id = checked_text("user_id", request.user_id, MAX_ID_BYTES, least=1)
        count = DEFAULT_EVENT_COUNT
        if request.HasField("max_event_count"):
            count = checked_count("max_event_count", request.max_event_count, MAX_KEPT_EVENT_COUNT, least=0)
        try:
            record = self._users.describe(user_id, count)
        except UserStoreUnavailable as error:
            raise NotReady("the user store cannot be read", detail=str(error)) from error
        if record is None:
            raise UserNotFound(user_id)
        response = gateway_pb2.GetUserResponse(
            user_id=user_id, event_count=record.event_count, events=map(_write_event, record.events)
        )
        if record.expires_seconds is not None:
            # Whole seconds, and none too early.
            response.expire_time.seconds = math.ceil(record.expires_seconds)
        return response

    def delete(self, request: gateway_pb2.DeleteUserRequest) -> gateway_pb2.DeleteUserResponse:
        """Answers DeleteUser.

        Raises:
            InvalidField: The id is outside its bounds.
            UserNotFound: Nothing was stored of them; remembered answers are dropped all the same.
            NotReady: The store cannot be written, or did not say in time that it was.
        """
        user_id = checked_text("user_id", request.user_id, MAX_ID_BYTES, least=1)
        try:
            count = self._users.forget(user_id)
        except UserStoreUnavailable as error:
            raise NotReady("the user store cannot be written, try again", detail=str(error)) from error
        finally:
            # Answers to unknown people are remembered too, and those to people who could not be read.
            self._forget_answers(user_id)
        if count is None:
            raise UserNotFound(user_id)
        return gateway_pb2.DeleteUserResponse(deleted_event_count=count)


def _write_event(event: KeptEvent) -> gateway_pb2.StoredEvent:
    message = gateway_pb2.StoredEvent(
        event_id=event.event_id,
        item_id=event.item_id,
        action=event.action,
        value=event.value,
        request_id=event.request_id,
    )
    message.time.seconds = event.time_seconds
    return message
