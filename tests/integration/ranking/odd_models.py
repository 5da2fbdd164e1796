"""Builds a ranker that misbehaves when asked to; run as a program: ``python odd_models.py FOLDER DIMENSION``.

It is the ranker of tests/tiny_models.py until a retrieval score is one of the following, which mean nothing else:

- 100: scores that are NaN;
- 200: scores of two actions instead of three;
- 300: an answer after half a second;
- 400: effects after half a second, scores at once;
- 500: effects that are NaN;
- 600: effects of ten entries.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.tiny_models import HISTORY_LENGTH, Ranker

PAUSE_SECONDS = 1.0


class OddRanker(Ranker):
    def signatures(self) -> dict[str, object]:
        specs = [
            tf.TensorSpec((1, HISTORY_LENGTH, self.dimension), tf.float16, "history_features"),
            tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, "history_mask"),
            tf.TensorSpec((None, self.dimension + 1), tf.float16, "candidate_features"),
            tf.TensorSpec((None,), tf.float32, "retrieval_scores"),
        ]
        pure = super().signatures()

        def pause(trigger: tf.Tensor, *triggers: float) -> tf.Tensor:
            wanted = tf.reduce_any(trigger == tf.constant(triggers))
            until = tf.timestamp() + tf.where(wanted, tf.constant(PAUSE_SECONDS, tf.float64), 0.0)
            return tf.while_loop(lambda _: tf.timestamp() < until, lambda turns: (turns + 1,), (0,))[0]

        def ask(
            signature: str, features: tf.Tensor, mask: tf.Tensor, candidates: tf.Tensor, scores: tf.Tensor
        ) -> tf.Tensor:
            harmless = tf.where(scores >= 100, 0.0, scores)
            answer = pure[signature](features, mask, candidates, harmless)  # type: ignore[operator]
            (output,) = answer.values()
            return output

        @tf.function(input_signature=specs)  # type: ignore[untyped-decorator, unused-ignore]
        def call(
            history_features: tf.Tensor,
            history_mask: tf.Tensor,
            candidate_features: tf.Tensor,
            retrieval_scores: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            trigger = tf.reduce_max(retrieval_scores)
            with tf.control_dependencies([pause(trigger, 300.0)]):
                scores = ask("serving_default", history_features, history_mask, candidate_features, retrieval_scores)
                scores = scores + tf.where(trigger == 100, float("nan"), 0.0)
                return {"action_scores": tf.cond(trigger == 200, lambda: scores[:, :2], lambda: scores)}

        @tf.function(input_signature=specs)  # type: ignore[untyped-decorator, unused-ignore]
        def explain(
            history_features: tf.Tensor,
            history_mask: tf.Tensor,
            candidate_features: tf.Tensor,
            retrieval_scores: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            trigger = tf.reduce_max(retrieval_scores)
            with tf.control_dependencies([pause(trigger, 300.0, 400.0)]):
                effects = ask("history_effects", history_features, history_mask, candidate_features, retrieval_scores)
                effects = effects + tf.where(trigger == 500, float("nan"), 0.0)
                return {"history_effects": tf.cond(trigger == 600, lambda: effects[:, :10], lambda: effects)}

        return {"serving_default": call, "history_effects": explain}


def main(folder: Path, dimension: int) -> None:
    ranker = OddRanker(dimension)
    tf.saved_model.save(ranker, str(folder), signatures=ranker.signatures())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
