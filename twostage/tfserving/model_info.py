"""What a model server says about the models it holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.message import DecodeError

from twostage.tfserving.errors import TensorError
from twostage.tfserving.messages import Message, SignatureDefMap, data_type_name


class VersionState(IntEnum):
    """The states of a version, in the order in which it passes through them."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version of a model.

    Args:
        state: Where the version is; only AVAILABLE answers.
        error_code: The number of a gRPC status code, 0 unless loading failed.
        error_message: Why loading failed; empty otherwise.
    """

    state: VersionState
    error_code: int = 0
    error_message: str = ""


@dataclass(frozen=True)
class TensorInfo:
    """What a signature declares of one input or output.

    Args:
        data_type: TensorFlow's name, e.g. ``DT_FLOAT``.
        shape: Sizes, None for one that varies; None altogether when the rank varies.
    """

    data_type: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """A callable part of a model.

    Args:
        inputs: By name.
        outputs: By name.
        method_name: Which kind of call it was exported for, e.g. ``tensorflow/serving/predict``.
    """

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str


def read_signatures(response: Message) -> dict[str, Signature]:
    """Reads the signatures out of a ``GetModelMetadataResponse``.

    Raises:
        TensorError: The response holds none.
    """
    packed = response.metadata.get("signature_def")
    if packed is None:
        raise TensorError("the metadata holds no signature_def")
    try:
        signatures = SignatureDefMap.FromString(packed.value).signature_def
    except DecodeError as error:
        raise TensorError("the metadata's signature_def cannot be read") from error
    return {
        name: Signature(
            {alias: _tensor_info(declared) for alias, declared in signature.inputs.items()},
            {alias: _tensor_info(declared) for alias, declared in signature.outputs.items()},
            signature.method_name,
        )
        for name, signature in signatures.items()
    }


def _tensor_info(declared: Message) -> TensorInfo:
    shape = declared.tensor_shape
    sizes = None if shape.unknown_rank else tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)
    return TensorInfo(data_type_name(declared.dtype), sizes)
