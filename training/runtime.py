"""TensorFlow as training uses it: quiet, seeded, deterministic. Import this before Keras."""

from __future__ import annotations

import os

# Both are read at import; a caller's own choice stands.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

tf.get_logger().setLevel("ERROR")


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and TensorFlow and refuses kernels whose results vary from run to run."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
