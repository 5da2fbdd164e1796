"""MultiInference: several signatures of one model on the same examples, in one run of the graph."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import inference_pb2

from model_server import classify, regress
from model_server.errors import ServingError, invalid_argument
from model_server.examples import DEFAULT_SIGNATURE, serialize_examples
from model_server.servable import Servable, SignatureTensor


def run_multi_inference(
    servable: Servable, request: inference_pb2.MultiInferenceRequest, timeout_ms: int | None
) -> inference_pb2.MultiInferenceResponse:
    """Answers a request from one version of the model that its first task names.

    Returns:
        A result for each task in its order, with the signature's name in an otherwise empty model_spec.

    Raises:
        ServingError: What the real server says of the same fault.
    """
    plans: list[tuple[str, str, list[SignatureTensor]]] = []
    sources: dict[str, SignatureTensor] = {}
    model = request.tasks[0].model_spec.name
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != model:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if any(name == planned for planned, _, _ in plans):
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name == classify.METHOD_NAME:
            fed, wanted = classify.plan_classify(signature, check_name=servable.check_method_names)
        elif task.method_name == regress.METHOD_NAME:
            fed, output = regress.plan_regress(signature, check_name=servable.check_method_names)
            wanted = [output]
        else:
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        sources[fed.name] = fed
        plans.append((name, task.method_name, wanted))
    examples = serialize_examples(request.input)
    fetched = {tensor.name: tensor for _, _, wanted in plans for tensor in wanted}
    outputs = servable.run(
        [(sources[name].handle, examples) for name in sorted(sources)],
        [tensor.handle for tensor in fetched.values()],
        timeout_ms,
    )
    by_name = dict(zip(fetched, outputs, strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for name, method_name, wanted in plans:
        result = response.results.add()
        result.model_spec.signature_name = name
        arrays = [by_name[tensor.name] for tensor in wanted]
        if method_name == classify.METHOD_NAME:
            result.classification_result.CopyFrom(classify.read_classes(wanted, arrays, len(examples)))
        else:
            result.regression_result.CopyFrom(regress.read_values(arrays[0], len(examples)))
    return response
