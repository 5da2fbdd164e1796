"""Reads where and when a recommendation is asked for."""

from __future__ import annotations

from collections.abc import Callable

from twostage.features.context import Context
from twostage.messages.bounds import MAX_ATTRIBUTE_BYTES, MAX_NAME_BYTES, check_length, checked_text, checked_time
from twostage.v1 import common_pb2

MAX_CONTEXT_ATTRIBUTE_COUNT = 32


def read_context(message: common_pb2.Context, now_seconds: Callable[[], float] = lambda: 0.0) -> Context:
    """Reads a context.

    Args:
        message: As it came.
        now_seconds: Unix time, asked for when the message does not say when; 0, which is unknown, by default.

    Raises:
        InvalidField: A field breaks the contract's bounds.
    """
    has_time = message.HasField("time")
    attributes = message.attributes
    check_length("context.attributes", attributes, MAX_CONTEXT_ATTRIBUTE_COUNT)
    return Context(
        surface=checked_text("context.surface", message.surface, MAX_NAME_BYTES),
        device=checked_text("context.device", message.device, MAX_NAME_BYTES),
        locale=checked_text("context.locale", message.locale, MAX_NAME_BYTES),
        time_seconds=checked_time("context.time", message.time.seconds) if has_time else int(now_seconds()),
        attributes={
            checked_text("context.attributes", key, MAX_ATTRIBUTE_BYTES): checked_text(
                f"context.attributes[{key}]", value, MAX_ATTRIBUTE_BYTES
            )
            for key, value in attributes.items()
        },
    )
