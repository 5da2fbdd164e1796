"""Writes the models that the contract suite asks, and the config that serves them.

``python tests/contract/tfserving/export_models.py DIR``, then start any server with the flags that it prints and run
the suite with ``--model-server-address``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_FLAGS = ("--allow_version_labels_for_unavailable_models=true",)
_CONFIG = """model_config_list {{
  config {{
    name: "m" base_path: "{root}/m" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
    version_labels {{ key: "ghost" value: 9 }}
  }}
  config {{ name: "types" base_path: "{root}/types" model_platform: "tensorflow" }}
  config {{ name: "slow" base_path: "{root}/slow" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{root}/examples" model_platform: "tensorflow" }}
  config {{ name: "defaults" base_path: "{root}/defaults" model_platform: "tensorflow" }}
  config {{ name: "unnamed" base_path: "{root}/unnamed" model_platform: "tensorflow" }}
  config {{ name: "fixed" base_path: "{root}/fixed" model_type: TENSORFLOW model_version_policy {{ latest {{}} }} }}
}}
"""


def export_scaled(path: Path, version: int) -> None:
    """Two inputs and two outputs, which differ by version; a second signature under another name."""
    factor = tf.Variable(float(version))

    @tf.function  # type: ignore[untyped-decorator, unused-ignore] # TensorFlow ships no types
    def serve(a: Any, b: Any) -> dict[str, Any]:
        return {"x": a * factor, "y": b + version}

    @tf.function  # type: ignore[untyped-decorator, unused-ignore] # TensorFlow ships no types
    def total(a: Any) -> dict[str, Any]:
        return {"sum": tf.reduce_sum(a) * factor}

    module = tf.Module()
    module.factor, module.serve, module.total = factor, serve, total
    rows = tf.TensorSpec([None, 4], tf.float32, name="a")
    tf.saved_model.save(
        module,
        str(path),
        signatures={
            "serving_default": serve.get_concrete_function(a=rows, b=tf.TensorSpec([None], tf.int64, name="b")),
            "total": total.get_concrete_function(a=rows),
        },
    )


def export_types(path: Path) -> None:
    """Gives back what it gets, in the types that a ranker may use."""
    kinds = {"half": tf.float16, "integer": tf.int32, "flag": tf.bool, "text": tf.string, "double": tf.float64}

    @tf.function  # type: ignore[untyped-decorator, unused-ignore] # TensorFlow ships no types
    def serve(**inputs: Any) -> dict[str, Any]:
        return {f"{name}_out": tf.identity(value) for name, value in inputs.items()}

    module = tf.Module()
    module.serve = serve
    specs = {name: tf.TensorSpec([None], kind, name=name) for name, kind in kinds.items()}
    tf.saved_model.save(module, str(path), signatures=serve.get_concrete_function(**specs))


def export_slow(path: Path) -> None:
    """Counts as far as asked, one step after another."""

    @tf.function  # type: ignore[untyped-decorator, unused-ignore] # TensorFlow ships no types
    def serve(n: Any) -> dict[str, Any]:
        def step(i: Any, value: Any) -> Any:
            return i + 1, tf.tanh(value + tf.reduce_sum(tf.random.uniform([64, 64])))

        return {"n": tf.while_loop(lambda i, _: i < n, step, (0, 0.0), parallel_iterations=1)[0]}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(
        module, str(path), signatures=serve.get_concrete_function(n=tf.TensorSpec([], tf.int32, name="n"))
    )


def export_examples(path: Path) -> None:
    """Reads ``tf.Example`` records: y = x + 1, as a regression and as two classes, and as a shape that is neither."""

    def read(inputs: Any) -> Any:
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

    def regress(inputs: Any) -> dict[str, Any]:
        return {"outputs": read(inputs) + 1.0}

    def classify(inputs: Any) -> dict[str, Any]:
        x = read(inputs)
        labels = tf.repeat(tf.constant([["yes", "no"]]), tf.shape(x)[0], axis=0)
        return {"classes": labels, "scores": tf.concat([x, -x], axis=1)}

    def scores(inputs: Any) -> dict[str, Any]:
        return {"scores": read(inputs)}

    def flat(inputs: Any) -> dict[str, Any]:
        return {"scores": read(inputs)[:, 0]}

    spec = tf.TensorSpec([None], tf.string, name="inputs")
    module = tf.Module()
    module.functions = {
        one.__name__: tf.function(one).get_concrete_function(inputs=spec) for one in (regress, classify, scores, flat)
    }
    tf.saved_model.save(module, str(path), signatures=dict(module.functions))
    with edited(path) as signatures:
        # TensorFlow 2 says of every signature that it is for Predict.
        signatures["regress"].method_name = "tensorflow/serving/regress"
        for name in ("classify", "scores", "flat"):
            signatures[name].method_name = "tensorflow/serving/classify"


def export_defaults(path: Path) -> None:
    """Multiplies x by k, which is 3 when it is left out."""

    @tf.function  # type: ignore[untyped-decorator, unused-ignore] # TensorFlow ships no types
    def serve(x: Any, k: Any) -> dict[str, Any]:
        return {"y": x * k}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(
        module,
        str(path),
        signatures=serve.get_concrete_function(
            x=tf.TensorSpec([None], tf.float32, name="x"), k=tf.TensorSpec([], tf.float32, name="k")
        ),
    )
    with edited(path) as signatures:
        signatures["serving_default"].defaults["k"].CopyFrom(tf.make_tensor_proto(3.0))


def export_unnamed(path: Path) -> None:
    """Has no default signature: ``divide`` and ``pick`` can fail within the graph, ``total`` gives a scalar."""
    spec = tf.TensorSpec([None], tf.int32, name="x")

    def divide(x: Any) -> dict[str, Any]:
        return {"y": 6 // x}

    def pick(x: Any) -> dict[str, Any]:
        return {"y": tf.gather(tf.constant([10, 20]), x)}

    def total(x: Any) -> dict[str, Any]:
        return {"y": tf.reduce_sum(x)}

    module = tf.Module()
    module.functions = {one.__name__: tf.function(one).get_concrete_function(x=spec) for one in (divide, pick, total)}
    tf.saved_model.save(module, str(path), signatures=dict(module.functions))


def export_fixed(path: Path) -> None:
    """Doubles x, of which it says that it is [2, 3]; a product with k says that it takes [1, 4]."""
    fixed = tf.TensorSpec([2, 3], tf.float32, name="x")
    product = [tf.TensorSpec([1, 4], tf.float32, name="user"), tf.TensorSpec([None, 4], tf.float32, name="items")]

    def double(x: Any) -> dict[str, Any]:
        return {"y": x * 2.0}

    def score(user: Any, items: Any) -> dict[str, Any]:
        return {"y": tf.matmul(items, user, transpose_b=True)}

    module = tf.Module()
    module.functions = {
        "serving_default": tf.function(double).get_concrete_function(x=fixed),
        "score": tf.function(score).get_concrete_function(user=product[0], items=product[1]),
    }
    tf.saved_model.save(module, str(path), signatures=dict(module.functions))


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """Gives the signatures of a model that was written, and writes what was changed about them."""
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    yield model.meta_graphs[0].signature_def
    file.write_bytes(model.SerializeToString())


def main(root: Path) -> None:
    """Writes everything below a folder."""
    root = root.absolute()
    for version in (1, 2, 3):
        export_scaled(root / "m" / str(version), version)
    export_types(root / "types" / "1")
    export_slow(root / "slow" / "1")
    export_examples(root / "examples" / "1")
    export_defaults(root / "defaults" / "1")
    export_unnamed(root / "unnamed" / "1")
    export_fixed(root / "fixed" / "1")
    config = root / "models.config"
    config.write_text(_CONFIG.format(root=root), encoding="utf-8")
    print(" ".join([f"--model_config_file={config}", *_FLAGS]))  # noqa: T201  - what to start a server with


if __name__ == "__main__":
    main(Path(sys.argv[1]))
