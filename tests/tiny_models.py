"""Builds untrained models of the shapes that serving expects; run as a program, because TensorFlow takes seconds.

::

    python tests/tiny_models.py FOLDER DIMENSION

writes ``user_tower.tflite``, ``silent_user_tower.tflite`` and, in ``ranker``, a SavedModel into FOLDER. They have no
trained weights: the user tower pools a history by attention to nothing in particular, the silent one is the same and
does not tell its attention, the ranker scores by inner product.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

HISTORY_LENGTH = 50
ACTION_COUNT = 3


class UserTower(tf.Module):  # type: ignore[misc] # TensorFlow ships no types
    def __init__(self, dimension: int) -> None:
        super().__init__()
        generator = np.random.default_rng(7)
        self.dense = tf.Variable(generator.normal(size=(dimension, 8)).astype(np.float32) / dimension**0.5)
        self.score = tf.Variable(generator.normal(size=(8, 1)).astype(np.float32))

    def signature(self, dimension: int, *, weighing: bool) -> object:
        @tf.function(  # type: ignore[untyped-decorator, unused-ignore]
            input_signature=[
                tf.TensorSpec((1, HISTORY_LENGTH, dimension), tf.float32, "history_vectors"),
                tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, "history_mask"),
            ]
        )
        def call(history_vectors: tf.Tensor, history_mask: tf.Tensor) -> dict[str, tf.Tensor]:
            hidden = tf.tanh(tf.matmul(history_vectors[0], self.dense))
            scores = tf.matmul(hidden, self.score)[:, 0] + (history_mask[0] - 1.0) * 1e9
            weights = tf.nn.softmax(scores)[tf.newaxis] * history_mask
            pooled = tf.matmul(weights, history_vectors[0])
            norm = tf.sqrt(tf.reduce_sum(pooled * pooled, axis=1, keepdims=True))
            answer = {"user_vector": pooled / tf.maximum(norm, 1e-9)}
            return {**answer, "history_weights": weights} if weighing else answer

        return call


class Ranker(tf.Module):  # type: ignore[misc]
    """Reads the four inputs below; the actions differ in how much they listen to the retrieval score."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.slopes = tf.Variable([[2.0, 4.0, 1.0]], dtype=tf.float32)
        self.retrieval_slopes = tf.Variable([[0.5, 1.0, 3.0]], dtype=tf.float32)
        self.offsets = tf.Variable([[-0.5, -1.5, -2.5]], dtype=tf.float32)
        self.dimension = dimension

    def logits(
        self, entries: tf.Tensor, mask: tf.Tensor, candidate_features: tf.Tensor, retrieval_scores: tf.Tensor
    ) -> tf.Tensor:
        """[V, 50, D] and [V, 50], V histories, and N candidates to [V, N, 3]."""
        kept = tf.cast(entries, tf.float32) * mask[:, :, tf.newaxis]
        users = tf.reduce_sum(kept, axis=1) / tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        candidates = tf.cast(candidate_features, tf.float32)
        dots = tf.matmul(users, candidates[:, : self.dimension], transpose_b=True)
        popularity = candidates[:, self.dimension :]
        own = retrieval_scores[:, tf.newaxis] * self.retrieval_slopes + popularity
        return dots[:, :, tf.newaxis] * self.slopes + own + self.offsets

    def signatures(self) -> dict[str, object]:
        specs = [
            tf.TensorSpec((1, HISTORY_LENGTH, self.dimension), tf.float16, "history_features"),
            tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, "history_mask"),
            tf.TensorSpec((None, self.dimension + 1), tf.float16, "candidate_features"),
            tf.TensorSpec((None,), tf.float32, "retrieval_scores"),
        ]

        @tf.function(input_signature=specs)  # type: ignore[untyped-decorator, unused-ignore]
        def call(
            history_features: tf.Tensor,
            history_mask: tf.Tensor,
            candidate_features: tf.Tensor,
            retrieval_scores: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            logits = self.logits(history_features, history_mask, candidate_features, retrieval_scores)
            return {"action_scores": tf.sigmoid(logits[0])}

        @tf.function(input_signature=specs)  # type: ignore[untyped-decorator, unused-ignore]
        def explain(
            history_features: tf.Tensor,
            history_mask: tf.Tensor,
            candidate_features: tf.Tensor,
            retrieval_scores: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            whole = self.logits(history_features, history_mask, candidate_features, retrieval_scores)
            lacking = history_mask * (1.0 - tf.eye(HISTORY_LENGTH))
            less = self.logits(history_features, lacking, candidate_features, retrieval_scores)
            return {"history_effects": tf.transpose(whole - less, [1, 0, 2])}

        return {"serving_default": call, "history_effects": explain}


def main(folder: Path, dimension: int) -> None:
    tower = UserTower(dimension)
    for name, weighing in (("user_tower", True), ("silent_user_tower", False)):
        saved = folder / name
        tf.saved_model.save(tower, str(saved), signatures=tower.signature(dimension, weighing=weighing))
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    ranker = Ranker(dimension)
    tf.saved_model.save(ranker, str(folder / "ranker"), signatures=ranker.signatures())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
