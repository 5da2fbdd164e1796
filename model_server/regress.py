"""Regress: examples to one number each."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from tensorflow_serving.apis import regression_pb2

from model_server.errors import invalid_argument
from model_server.examples import (
    check_method_name,
    data_type_text,
    find_signature,
    serialize_examples,
    shape_text,
)
from model_server.servable import Servable, ServableSignature, SignatureTensor

METHOD_NAME = "tensorflow/serving/regress"
_INPUT, _OUTPUT = "inputs", "outputs"


def run_regress(
    servable: Servable, request: regression_pb2.RegressionRequest, timeout_ms: int | None
) -> regression_pb2.RegressionResponse:
    """Answers a request from one version of a model.

    Returns:
        The number of each example, and the signature's name in an otherwise empty model_spec.

    Raises:
        ServingError: What the real server says of the same fault.
    """
    name, signature = find_signature(servable, request.model_spec.signature_name)
    source, wanted = plan_regress(signature, check_name=servable.check_method_names)
    examples = serialize_examples(request.input)
    (output,) = servable.run([(source.handle, examples)], [wanted.handle], timeout_ms)
    response = regression_pb2.RegressionResponse()
    response.model_spec.signature_name = name
    response.result.CopyFrom(read_values(output, len(examples)))
    return response


def plan_regress(signature: ServableSignature, *, check_name: bool) -> tuple[SignatureTensor, SignatureTensor]:
    """Finds the input and the output, or says why the signature is none for this call.

    Args:
        signature: The signature that was asked for.
        check_name: Also require that it was exported for this call.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if check_name:
        check_method_name(signature, "regression", METHOD_NAME)
    definition = signature.definition
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUT not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {definition}")
    if _OUTPUT not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {definition}")
    return signature.inputs[_INPUT], signature.outputs[_OUTPUT]


def read_values(output: NDArray[Any], count: int) -> regression_pb2.RegressionResult:
    """Turns the graph's output into the number of each example.

    Raises:
        ServingError: INVALID_ARGUMENT when it is no ``[examples]`` or ``[examples, 1]`` of floats.
    """
    if output.ndim not in (1, 2) or output.shape[1:] not in ((), (1,)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + shape_text(output)
        )
    if output.shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {output.shape[0]}")
    if data_type_text(output) != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {data_type_text(output)}")
    result = regression_pb2.RegressionResult()
    for value in output.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result
