"""Small models, exported by the real TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf


def export_sum(path: Path, factor: float) -> None:
    """Writes a model with a variable: ``y = factor * (a + b)`` for float vectors."""
    module = tf.Module()
    module.factor = tf.Variable(factor)

    def serve(a: Any, b: Any) -> dict[str, Any]:
        return {"y": module.factor * (a + b)}

    module.serve = tf.function(serve)
    specs = {name: tf.TensorSpec([None], tf.float32, name=name) for name in ("a", "b")}
    tf.saved_model.save(module, str(path), signatures=module.serve.get_concrete_function(**specs))


def export_count(path: Path) -> None:
    """Writes a model that counts to ``n``, one step after another: it takes as long as asked."""
    module = tf.Module()

    def serve(n: Any) -> dict[str, Any]:
        def step(i: Any, value: Any) -> Any:
            return i + 1, tf.tanh(value + tf.reduce_sum(tf.random.uniform([16])))

        return {"n": tf.while_loop(lambda i, _: i < n, step, (0, 0.0), parallel_iterations=1)[0]}

    module.serve = tf.function(serve)
    tf.saved_model.save(
        module, str(path), signatures=module.serve.get_concrete_function(n=tf.TensorSpec([], tf.int32, name="n"))
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder of a model that doubles the sum of ``a`` and ``b``."""
    path = tmp_path_factory.mktemp("sum") / "1"
    export_sum(path, 2.0)
    return path
