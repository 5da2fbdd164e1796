"""The input of Classify, Regress and MultiInference: ``tf.Example`` records instead of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import input_pb2

from model_server.errors import invalid_argument
from model_server.servable import Servable, ServableSignature
from model_server.tensorflow_c import data_type

DEFAULT_SIGNATURE = "serving_default"


def serialize_examples(given: input_pb2.Input) -> NDArray[Any]:
    """Makes the tensor that such a signature takes.

    Returns:
        ``[examples]`` objects of ``bytes``. A context is merged into each; a feature of both is the example's.

    Raises:
        ServingError: INVALID_ARGUMENT without an example.
    """
    records: list[bytes] = []
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        records = [example.SerializeToString() for example in given.example_list.examples]
    elif kind == "example_list_with_context":
        context = given.example_list_with_context.context
        for example in given.example_list_with_context.examples:
            merged = example_pb2.Example()
            merged.CopyFrom(context)
            merged.MergeFrom(example)
            records.append(merged.SerializeToString())
    if not records:
        raise invalid_argument("Input is empty.")
    tensor = np.empty(len(records), object)
    tensor[:] = records
    return tensor


def find_signature(servable: Servable, name: str) -> tuple[str, ServableSignature]:
    """Finds a signature as Classify and Regress do; an empty name is the default.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    name = name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return name, signature


def check_method_name(signature: ServableSignature, kind: str, expected: str) -> None:
    """Refuses a signature that was not exported for the call; only done where the server is told to.

    Args:
        signature: The signature that was asked for.
        kind: ``classification`` or ``regression``.
        expected: The method name such a signature has.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    given = signature.definition.method_name
    if given != expected:
        raise invalid_argument(f"Expected {kind} signature method_name to be {expected}. Was: {given}")


def shape_text(array: NDArray[Any]) -> str:
    """Writes a shape as TensorFlow's messages do."""
    return f"[{','.join(map(str, array.shape))}]"


def data_type_text(array: NDArray[Any]) -> str:
    """Names an array's data type as TensorFlow's messages do; an array of objects holds strings."""
    text: str = types_pb2.DataType.Name(data_type(array.dtype))
    return text
