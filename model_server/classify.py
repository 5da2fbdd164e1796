"""Classify: examples to classes, scores, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from tensorflow_serving.apis import classification_pb2

from model_server.errors import invalid_argument
from model_server.examples import (
    check_method_name,
    data_type_text,
    find_signature,
    serialize_examples,
    shape_text,
)
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
    source, wanted = plan_classify(signature, check_name=servable.check_method_names)
    examples = serialize_examples(request.input)
    outputs = servable.run([(source.handle, examples)], [one.handle for one in wanted], timeout_ms)
    response = classification_pb2.ClassificationResponse()
    response.model_spec.signature_name = name
    response.result.CopyFrom(read_classes(wanted, outputs, len(examples)))
    return response


def plan_classify(signature: ServableSignature, *, check_name: bool) -> tuple[SignatureTensor, list[SignatureTensor]]:
    """Finds the input and the outputs, or says why the signature is none for this call.

    Args:
        signature: The signature that was asked for.
        check_name: Also require that it was exported for this call.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if check_name:
        check_method_name(signature, "classification", METHOD_NAME)
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
        expected = "DT_STRING" if alias == _CLASSES else "DT_FLOAT"
        if output.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(output)}")
        if data_type_text(output) != expected:
            raise invalid_argument(f"Expected {alias} Tensor of {expected}. Got: {data_type_text(output)}")
        if output.shape[0] != count:
            raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {output.shape[0]}")
    class_counts = [output.shape[1] for output in columns.values()]
    if class_counts[0] != class_counts[-1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {class_counts[0]} vs. {class_counts[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        classes = result.classifications.add()
        for column in range(class_counts[0]):
            entry = classes.classes.add()
            if _CLASSES in columns:
                entry.label = columns[_CLASSES][row, column]
            if _SCORES in columns:
                entry.score = columns[_SCORES][row, column]
    return result
