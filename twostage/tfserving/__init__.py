"""The client of a model server that speaks TensorFlow Serving's protocol, without TensorFlow."""

from twostage.tfserving.client import ModelServerClient
from twostage.tfserving.errors import (
    ModelNotFound,
    ModelServerDeadline,
    ModelServerError,
    ModelServerOverloaded,
    ModelServerUnavailable,
    RequestRejected,
    ResponseInvalid,
    SignatureNotFound,
    TensorError,
    WrongVersion,
)
from twostage.tfserving.model_info import Signature, TensorInfo, VersionState, VersionStatus

__all__ = [
    "ModelNotFound",
    "ModelServerClient",
    "ModelServerDeadline",
    "ModelServerError",
    "ModelServerOverloaded",
    "ModelServerUnavailable",
    "RequestRejected",
    "ResponseInvalid",
    "Signature",
    "SignatureNotFound",
    "TensorError",
    "TensorInfo",
    "VersionState",
    "VersionStatus",
    "WrongVersion",
]
