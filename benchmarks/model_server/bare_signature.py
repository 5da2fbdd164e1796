"""A SavedModel called directly, without a server: a process that is told how often, by ``predict_overhead``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ITEM_COUNT = 500
FEATURE_COUNT = 128
HIDDEN_SIZES = {"one product": (), "perceptron 256-128": (256, 128)}


def main() -> None:
    """Exports the model ``argv[2]`` as version 1 below ``argv[1]``, then answers orders, lines of JSON, in CPU time."""
    import tensorflow as tf  # noqa: PLC0415 - after the arguments are known to be there

    base, kind = Path(sys.argv[1]), sys.argv[2]
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _export(base / "1", HIDDEN_SIZES[kind])
    model = tf.saved_model.load(str(base / "1"))
    ways = {"signature": _signature(model), "session": _session(base / "1"), "session's entry": _entry(base / "1")}
    print(json.dumps({"ways": list(ways)}), flush=True)
    items = np.random.default_rng(0).standard_normal((ITEM_COUNT, FEATURE_COUNT), np.float32)
    for line in sys.stdin:
        order = json.loads(line)
        call = ways[order["way"]]
        began = time.process_time_ns()
        for _ in range(order["count"]):
            call(items)
        cpu_ms = (time.process_time_ns() - began) / 1e6 / order["count"]
        print(json.dumps({"cpu_ms": cpu_ms}), flush=True)


def _export(path: Path, hidden_sizes: tuple[int, ...]) -> None:
    import tensorflow as tf  # noqa: PLC0415

    random = np.random.default_rng(1)
    sizes = (FEATURE_COUNT, *hidden_sizes, 1)
    module = tf.Module()
    module.weights = [
        tf.Variable(random.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5))
        for shape in pairwise(sizes)
    ]

    def serve(items: Any) -> dict[str, Any]:
        values = items
        for weights in module.weights[:-1]:
            values = tf.nn.relu(values @ weights)
        return {"scores": values @ module.weights[-1]}

    module.serve = tf.function(serve)
    spec = tf.TensorSpec([None, FEATURE_COUNT], tf.float32, name="items")
    tf.saved_model.save(module, str(path), signatures=module.serve.get_concrete_function(items=spec))


def _signature(model: Any) -> Callable[[Any], Any]:
    import tensorflow as tf  # noqa: PLC0415

    signature = model.signatures["serving_default"]

    def call(items: Any) -> Any:
        return signature(items=tf.constant(items))["scores"].numpy()

    call.model = model  # type: ignore[attr-defined]  # the signature does not keep the model's variables alive
    return call


def _session(path: Path) -> Callable[[Any], Any]:
    import tensorflow as tf  # noqa: PLC0415

    session = tf.compat.v1.Session(graph=tf.Graph(), config=_one_thread())
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
    definition = meta_graph.signature_def["serving_default"]
    output, fed = definition.outputs["scores"].name, definition.inputs["items"].name
    return lambda items: session.run(output, {fed: items})


def _entry(path: Path) -> Callable[[Any], Any]:
    from model_server.servable import Servable  # noqa: PLC0415

    servable = Servable(path, _one_thread())
    signature = servable.signatures["serving_default"]
    fed, fetched = signature.inputs["items"].handle, signature.outputs["scores"].handle
    return lambda items: servable.run([(fed, items)], [fetched], None)


def _one_thread() -> Any:
    from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415

    return config_pb2.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


if __name__ == "__main__":
    main()
