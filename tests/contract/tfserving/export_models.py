"""Writes the models that the contract suite asks, and the config that serves them.

``python tests/contract/tfserving/export_models.py DIR``, then start any server with
``--model_config_file=DIR/models.config`` and run the suite with ``--tfserving-address``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

_CONFIG = """model_config_list {{
  config {{
    name: "m" base_path: "{root}/m" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
  config {{ name: "types" base_path: "{root}/types" model_platform: "tensorflow" }}
  config {{ name: "slow" base_path: "{root}/slow" model_platform: "tensorflow" }}
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


def main(root: Path) -> None:
    """Writes everything below a folder."""
    root = root.absolute()
    for version in (1, 2, 3):
        export_scaled(root / "m" / str(version), version)
    export_types(root / "types" / "1")
    export_slow(root / "slow" / "1")
    (root / "models.config").write_text(_CONFIG.format(root=root), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
