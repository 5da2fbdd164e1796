"""Exports the towers: the user tower to LiteRT, the item tower as a SavedModel."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from training.errors import ExportMismatch
from training.towers.item_tower import ITEM_VECTOR
from training.towers.user_tower import with_history_weights
from twostage.features.history import HISTORY_LENGTH
from twostage.features.item_encoding import EncodedItems
from twostage.features.model_inputs import HISTORY_MASK, HISTORY_VECTORS, HISTORY_WEIGHTS, USER_VECTOR

TOLERANCE = 1e-5
"""How far an exported model's numbers may lie from Keras's."""

_PROBE_LENGTHS = (0, 1, 2, 7, 25, HISTORY_LENGTH)


def user_tower_to_litert(tower: keras.Model, item_vectors: NDArray[np.float32]) -> bytes:
    """Converts the user tower, for one request at a time, and compares it with Keras.

    Beside the user vector it answers what each entry of the history weighs in it, for explanations. The weights are
    computed on the way to the vector, so that answering them costs nothing.

    Args:
        tower: The user tower.
        item_vectors: float32[N, D], of which the histories that it is compared on are made.

    Raises:
        ExportMismatch: The converted tower answers something else.
    """
    size = item_vectors.shape[1]
    explaining = with_history_weights(tower)
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(explaining)

        def serve(history_vectors: tf.Tensor, history_mask: tf.Tensor) -> dict[str, tf.Tensor]:
            inputs = {HISTORY_VECTORS: history_vectors, HISTORY_MASK: history_mask}
            return dict(explaining(inputs, training=False))

        archive.add_endpoint(
            name="serving_default",
            fn=serve,
            input_signature=[
                tf.TensorSpec((1, HISTORY_LENGTH, size), tf.float32, HISTORY_VECTORS),
                tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_MASK),
            ],
        )
        archive.write_out(folder, verbose=False)
        # From concrete functions the converter loses a Keras 3 model's weights and answers NaN.
        converted: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    _compare_user_tower(explaining, converted, item_vectors)
    return converted


def _compare_user_tower(explaining: keras.Model, converted: bytes, item_vectors: NDArray[np.float32]) -> None:
    interpreter = Interpreter(model_content=converted, num_threads=1)
    runner = interpreter.get_signature_runner()
    rng = np.random.default_rng(0)
    for length in _PROBE_LENGTHS:
        vectors = np.zeros((1, HISTORY_LENGTH, item_vectors.shape[1]), np.float32)
        mask = np.zeros((1, HISTORY_LENGTH), np.float32)
        vectors[0, :length] = item_vectors[rng.integers(0, len(item_vectors), length)]
        mask[0, :length] = 1.0
        inputs = {HISTORY_VECTORS: vectors, HISTORY_MASK: mask}
        expected, received = explaining(inputs, training=False), runner(**inputs)
        for output in (USER_VECTOR, HISTORY_WEIGHTS):
            check_same(f"{output} of the user tower in LiteRT", np.asarray(expected[output]), received[output])


def export_item_tower(tower: keras.Model, path: Path, items: EncodedItems) -> None:
    """Writes the item tower as a SavedModel that TensorFlow Serving loads, and compares it with Keras.

    Its signature ``serving_default`` reads the arrays of EncodedItems by name, with any number of items, and
    answers ``item_vector`` float32[n, D].

    Args:
        tower: The item tower.
        path: The SavedModel's folder, which does not exist yet.
        items: Items to compare on; the first few are used.

    Raises:
        ExportMismatch: The exported tower answers something else.
    """
    arrays = items.take(np.arange(min(16, len(items)))).arrays()
    archive = keras.export.ExportArchive()
    archive.track(tower)
    names = list(arrays)

    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {ITEM_VECTOR: tower(dict(zip(names, inputs, strict=True)), training=False)}

    archive.add_endpoint(
        name="serving_default",
        fn=serve,
        input_signature=[
            tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype), name) for name, array in arrays.items()
        ],
    )
    archive.write_out(str(path), verbose=False)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = {name: tf.constant(array) for name, array in arrays.items()}
    expected = np.asarray(tower(inputs, training=False))
    check_same("item tower", expected, served(**inputs)[ITEM_VECTOR].numpy())


def check_same(what: str, expected: NDArray[np.float32], received: NDArray[np.float32]) -> None:
    """Compares an exported model's answer.

    Raises:
        ExportMismatch: The shapes differ, a number is not finite, or one is off by more than TOLERANCE.
    """
    if expected.shape != received.shape:
        raise ExportMismatch(f"{what}: expected shape {expected.shape}, got {received.shape}")
    off = np.abs(expected - received).max(initial=0.0)
    if not off <= TOLERANCE:
        raise ExportMismatch(f"{what}: expected the trained model's numbers within {TOLERANCE:g}, off by {off:g}")
