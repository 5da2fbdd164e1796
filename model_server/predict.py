"""Predict: the checks of the real server, in its order and its words, then the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2

from model_server import tensor_codec
from model_server.errors import ServingError, invalid_argument
from model_server.servable import Servable, ServableSignature, SignatureTensor

DEFAULT_SIGNATURE = "serving_default"
_METHOD_NAMES = tuple(f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


def run_predict(
    servable: Servable,
    request: predict_pb2.PredictRequest,
    contents: Mapping[str, memoryview] | None = None,
    *,
    timeout_ms: int | None,
    as_content: bool,
) -> predict_pb2.PredictResponse:
    """Answers a request from one version of a model.

    Args:
        servable: The version; the request's model_spec is not looked at beyond its signature.
        request: The request.
        contents: The ``tensor_content`` of inputs whose messages come without it; see ``predict_wire``.
        timeout_ms: Time left for the graph; None has no end.
        as_content: Answer with ``tensor_content`` instead of typed lists.

    Returns:
        The outputs, and the signature's name in an otherwise empty model_spec.

    Raises:
        ServingError: What the real server says of the same fault.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if servable.check_method_names and signature.definition.method_name not in _METHOD_NAMES:
        raise ServingError(
            grpc.StatusCode.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(_METHOD_NAMES)}}}. "
            f"Was: {signature.definition.method_name}",
        )
    feeds = _read_inputs(signature, request, contents or {})
    wanted = _select_outputs(signature, request.output_filter)
    outputs = servable.run(feeds, [_handle(output) for output in wanted], timeout_ms)
    response = predict_pb2.PredictResponse()
    response.model_spec.signature_name = name
    for output, array in zip(wanted, outputs, strict=True):
        try:
            tensor_codec.encode(array, as_content=as_content, into=response.outputs[output.alias])
        except tensor_codec.TensorParseError as error:
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"{output.alias}: {error}") from None
    return response


def _read_inputs(
    signature: ServableSignature, request: predict_pb2.PredictRequest, contents: Mapping[str, memoryview]
) -> list[tuple[Any, NDArray[Any]]]:
    given = request.inputs
    if not signature.defaults and len(given) != len(signature.inputs):
        extra = sorted(given.keys() - signature.inputs.keys())
        missing = sorted(signature.inputs.keys() - given.keys())
        raise invalid_argument(
            f"input size does not match signature: {len(given)}!={len(signature.inputs)} len({_set(given)}) != "
            f"len({_set(signature.inputs)}). Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
        )
    feeds = []
    taken = 0
    for alias, tensor in signature.inputs.items():
        if alias in given:
            taken += 1
            try:
                array = tensor_codec.decode(given[alias], contents.get(alias))
            except tensor_codec.TensorParseError:
                raise invalid_argument(f"tensor parsing error: {alias}") from None
        elif alias in signature.defaults:
            array = signature.defaults[alias]
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {tensor.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_set(given)}, or default input alias set: "
                f"{','.join(sorted(signature.defaults))}"
            )
        feeds.append((_handle(tensor), array))
    if taken != len(given):
        raise invalid_argument(
            f"Inputs contains invalid name. Request inputs: {_set(given)}, signature inputs: {_set(signature.inputs)}"
        )
    return feeds


def _select_outputs(signature: ServableSignature, aliases: Sequence[str]) -> list[SignatureTensor]:
    if not aliases:
        return list(signature.outputs.values())
    chosen: dict[str, SignatureTensor] = {}
    for alias in aliases:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_set(signature.outputs)}."
            )
        if alias in chosen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        chosen[alias] = signature.outputs[alias]
    return list(chosen.values())


def _handle(tensor: SignatureTensor) -> Any:
    if tensor.handle is None:
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"{tensor.name} not found in the graph")
    return tensor.handle


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
