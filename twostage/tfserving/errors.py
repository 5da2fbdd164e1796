"""What can go wrong between a service and its model server.

::

    ModelServerError
    ├── ModelServerUnavailable    not reachable, or refused the work at once      UNAVAILABLE
    ├── ModelServerDeadline       no answer in the time given                     DEADLINE_EXCEEDED
    ├── ModelServerOverloaded     too much in flight, here or there               RESOURCE_EXHAUSTED
    ├── ModelNotFound             the model, or this version of it, is not held   NOT_FOUND
    ├── SignatureNotFound         the model has no such signature                 FAILED_PRECONDITION
    ├── RequestRejected           inputs or outputs do not fit the signature      INVALID_ARGUMENT
    └── ResponseInvalid           the answer cannot be read                       INTERNAL
        └── WrongVersion          it comes from another model or version

    TensorError (a ValueError)    an array or a tensor message that cannot be converted
"""

from __future__ import annotations

import grpc


class TensorError(ValueError):
    """An array has no tensor form, or a tensor message is no array."""


class ModelServerError(Exception):
    """A call that a model server did not answer as hoped.

    Args:
        message: What the server, the transport or this client said.
        code: The status code; UNKNOWN unless a subclass or the caller knows better.
    """

    default_code = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class ModelServerUnavailable(ModelServerError):
    """The server cannot be reached, or said so."""

    default_code = grpc.StatusCode.UNAVAILABLE


class ModelServerDeadline(ModelServerError):
    """There was no answer in the time given; or none was left, and nothing was sent."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


class ModelServerOverloaded(ModelServerError):
    """More calls are in flight than this client allows, or than the server has threads for."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class ModelNotFound(ModelServerError):
    """The server does not hold this model at this version: unknown, loading and unloaded are the same to it."""

    default_code = grpc.StatusCode.NOT_FOUND


class SignatureNotFound(ModelServerError):
    """The model has no signature of this name."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class RequestRejected(ModelServerError):
    """The inputs or the outputs asked for do not fit the model."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class ResponseInvalid(ModelServerError):
    """The server's answer cannot be read."""

    default_code = grpc.StatusCode.INTERNAL


class WrongVersion(ResponseInvalid):
    """The server's answer is another model's or another version's than was asked; nothing of it is used."""


_BY_CODE: dict[grpc.StatusCode, type[ModelServerError]] = {
    error.default_code: error
    for error in (
        ModelServerUnavailable,
        ModelServerDeadline,
        ModelServerOverloaded,
        ModelNotFound,
        SignatureNotFound,
        RequestRejected,
    )
}


def from_status(code: grpc.StatusCode, message: str) -> ModelServerError:
    """Makes the exception for a status; a code without a class of its own is a plain ``ModelServerError``."""
    return _BY_CODE.get(code, ModelServerError)(message, code)
