"""GetModelMetadata: the signatures of a model."""

from __future__ import annotations

from collections.abc import Sequence

from tensorflow_serving.apis import get_model_metadata_pb2

from model_server.errors import invalid_argument
from model_server.servable import Servable

_SIGNATURES = "signature_def"


def check_fields(fields: Sequence[str]) -> None:
    """Refuses an empty list of fields, and every field but ``signature_def``.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != _SIGNATURES:
            raise invalid_argument(f"Metadata field {field} is not supported")


def describe(servable: Servable) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Gives every signature of the model, in an otherwise empty answer."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature.definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata[_SIGNATURES].Pack(signatures)
    return response
