"""Classify: examples to classes, scores, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from tensorflow_serving.apis import classification_pb2

from model_server.errors import invalid_argument
from model_server.examples import find_signature, serialize_examples
from model_server.servable import Servable, ServableSignature, SignatureTensor

METHOD_NAME = "tensorflow/serving/classify"
_INPUT, _CLASSES, _SCORES = "inputs", "classes", "scores"


def run_classify(
    servable: Servable, request: classification_pb2.ClassificationRequest, timeout_ms: int | None
) -> classification_pb2.ClassificationResponse:
    """Answers a request from one version of a model.

    Returns:
        The classes of each example, and the signature's name in an otherwise empty model_spec.

    Raises:
        ServingError: What the real server says of the same fault.
    """
    name, signature = find_signature(servable, request.model_spec.signature_name)
    source, wanted = plan_classify(signature)
    examples = serialize_examples(request.input)
    outputs = servable.run([(source.handle, examples)], [one.handle for one in wanted], timeout_ms)
    response = classification_pb2.ClassificationResponse()
    response.model_spec.signature_name = name
    response.result.CopyFrom(read_classes(wanted, outputs, len(examples)))
    return response


def plan_classify(signature: ServableSignature) -> tuple[SignatureTensor, list[SignatureTensor]]:
    """Finds the input and the outputs, or says why the signature is none for this call.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    definition = signature.definition
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUT not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {definition}")
    wanted = [signature.outputs[alias] for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not wanted:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {definition}"
        )
    return signature.inputs[_INPUT], wanted


def read_classes(
    wanted: Sequence[SignatureTensor], outputs: Sequence[NDArray[Any]], count: int
) -> classification_pb2.ClassificationResult:
    """Turns the graph's outputs into the classes of each example.

    Raises:
        ServingError: INVALID_ARGUMENT when an output is no ``[examples, classes]`` of strings or floats.
    """
    columns = {tensor.alias: output for tensor, output in zip(wanted, outputs, strict=True)}
    for alias, output in columns.items():
        if output.ndim != 2:
            raise invalid_argument(
                f"Expected {alias} Tensor shape to be [batch_size num_classes] but got {list(output.shape)}"
            )
        if output.shape[0] != count:
            raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {output.shape[0]}")
        if output.dtype.kind != ("O" if alias == _CLASSES else "f"):
            raise invalid_argument(f"Expected {alias} Tensor of another type. Got: {output.dtype}")
    if len({output.shape for output in columns.values()}) > 1:
        raise invalid_argument("Tensors class and score should match in dim_size(1)")
    result = classification_pb2.ClassificationResult()
    class_count = next(iter(columns.values())).shape[1]
    for row in range(count):
        classes = result.classifications.add()
        for column in range(class_count):
            entry = classes.classes.add()
            if _CLASSES in columns:
                entry.label = columns[_CLASSES][row, column]
            if _SCORES in columns:
                entry.score = columns[_SCORES][row, column]
    return result
