"""The one error that crosses from the server's parts to its callers: a status."""

from __future__ import annotations

from typing import Any

import grpc

# TensorFlow's codes and gRPC's are the same numbers.
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_MESSAGE_LIMIT_BYTES = 1024
_CUT = "...TRUNCATED"


class ServingError(Exception):
    """A status that a call or a load ends with.

    Args:
        code: Any code but OK.
        message: What happened, in TensorFlow Serving's words.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def number(self) -> int:
        """The code's number on the wire."""
        number: int = self.code.value[0]
        return number

    @classmethod
    def from_tensorflow(cls, error: Any) -> ServingError:
        """Takes code and message over from a ``tf.errors.OpError``."""
        return cls(_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message)


def invalid_argument(message: str) -> ServingError:
    """Makes an INVALID_ARGUMENT."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def wire_message(message: str) -> str:
    """Cuts a message as TensorFlow Serving does: after 1024 bytes, with a mark behind what is left."""
    encoded = message.encode()
    if len(encoded) <= _MESSAGE_LIMIT_BYTES:
        return message
    return encoded[:_MESSAGE_LIMIT_BYTES].decode(errors="ignore") + _CUT
