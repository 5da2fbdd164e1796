"""TensorFlow's own conversions and messages, in a process of its own; read by test_official_messages.py.

It reads pickled questions from standard input and writes pickled answers, each after its length in 8 bytes:

- ``("read", bytes)``: a TensorProto; answers dtype name, shape and values of ``tf.make_ndarray``.
- ``("write", array)``: answers the TensorProto of ``tf.make_tensor_proto``.
- ``("run", bytes)``: a TensorProto; answers the TensorProto that TensorFlow's C++ makes of it, values in content.
- ``("request", bytes)``: a PredictRequest; answers model_spec, signature, filter and the inputs as arrays.
- ``("response", fields)``: answers the PredictResponse made of name, version and outputs by name.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any, BinaryIO

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2


def plain(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], Any]:
    """Type, shape and values in a form that needs no TensorFlow to be read; bfloat16 widened."""
    name = array.dtype.name
    return name, array.shape, array.astype(np.float32) if name == "bfloat16" else array


def answer(kind: str, content: Any) -> Any:
    if kind == "read":
        return plain(tf.make_ndarray(tensor_pb2.TensorProto.FromString(content)))
    if kind == "write":
        name, array = content
        return tf.make_tensor_proto(array.astype(tf.as_dtype(name).as_numpy_dtype)).SerializeToString()
    if kind == "run":
        parsed = tensor_pb2.TensorProto.FromString(content)
        values = tf.raw_ops.ParseTensor(serialized=content, out_type=parsed.dtype).numpy()
        return plain(np.array(values, object) if isinstance(values, bytes) else np.asarray(values))
    if kind == "request":
        request = predict_pb2.PredictRequest.FromString(content)
        spec = request.model_spec
        inputs = {name: plain(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        return spec.name, spec.version.value, spec.signature_name, list(request.output_filter), inputs
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.version.value = content["name"], content["version"]
    for name, array in content["outputs"].items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
    return response.SerializeToString()


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    while length := questions.read(8):
        kind, content = pickle.loads(questions.read(int.from_bytes(length, "big")))  # noqa: S301 - of the test
        try:
            outcome = (True, answer(kind, content))
        except Exception as error:  # noqa: BLE001 - the test is told
            outcome = (False, f"{type(error).__name__}: {error}")
        packed = pickle.dumps(outcome)
        answers.write(len(packed).to_bytes(8, "big") + packed)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
