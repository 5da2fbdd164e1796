"""GetModelStatus: in which state the versions of a model are."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from model_server.core import Core
from model_server.errors import ServingError, invalid_argument


def answer_status(
    core: Core, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Lists the versions asked for, the highest first; a label is not looked at.

    Raises:
        ServingError: INVALID_ARGUMENT without a model_spec, NOT_FOUND for an unknown model or version.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    name = request.model_spec.name
    versions = core.versions(name)
    if request.model_spec.HasField("version"):
        number = request.model_spec.version.value
        versions = [one for one in versions if one.version == number]
        if not versions:
            raise ServingError(grpc.StatusCode.NOT_FOUND, f"Could not find version {number} of model {name}")
    if not versions:
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for one in versions:
        entry = response.model_version_status.add(version=one.version, state=int(one.state))
        entry.status.SetInParent()
        if one.error is not None:
            entry.status.error_code = one.error.number
            entry.status.error_message = one.error.message
    return response
