"""Scores candidates of many people with a ranker in memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.ranker.candidates import Requests
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.item_inputs import ItemInputs


class RankerScorer:
    """Scores rows of a catalogue with whole tables in memory, as the exported graph does one request at a time.

    Args:
        model: The ranker.
        items: The items; their candidate table is computed here, and anew by :meth:`refresh`.
    """

    def __init__(self, model: Ranker, items: ItemInputs) -> None:
        self._model = model
        self._items = items
        # A variable, so that new values need no new trace.
        self._candidates = tf.Variable(self._table(), trainable=False)
        self._history = tf.constant(items.history_table)
        self._infer = tf.function(self._score, reduce_retracing=True)

    def _table(self) -> NDArray[np.float32]:
        factors = self._items.factors.reshape(len(self._items), -1)
        return self._model.candidate_table(self._items.vectors, self._items.features, factors)

    def refresh(self) -> None:
        """Computes the candidate table anew, for an item side with new weights; other weights are read as they are."""
        self._candidates.assign(self._table())

    def _score(self, rows: tf.Tensor, scores: tf.Tensor, history: tf.Tensor, *user: tf.Tensor) -> tf.Tensor:
        batch = UserBatch(tf.gather(self._history, history), *user)
        return self._model.score(self._model.encode_user(batch), tf.gather(self._candidates, rows), scores)

    def logits(
        self,
        requests: Requests,
        people: NDArray[np.integer],
        rows: NDArray[np.int32],
        scores: NDArray[np.float32],
        batch_size: int = 64,
    ) -> NDArray[np.float32]:
        """Logits float32[B, n, A].

        Args:
            requests: The people.
            people: int[B], positions in the requests.
            rows: int32[B, n], candidates, -1 for none.
            scores: float32[B, n], retrieval scores.
            batch_size: People per call.
        """
        parts = []
        for start in range(0, len(people), batch_size):
            some = people[start : start + batch_size]
            part = slice(start, start + len(some))
            user = user_arrays(requests, some)
            parts.append(self._infer(np.maximum(rows[part], 0), scores[part], *map(tf.constant, user)).numpy())
        return np.concatenate(parts)


def user_arrays(requests: Requests, people: NDArray[np.integer]) -> tuple[NDArray[np.generic], ...]:
    """The user side of some requests, in the order of UserBatch, histories as rows."""
    histories = requests.histories
    return (
        histories.rows[people],
        histories.mask[people],
        histories.actions[people],
        histories.values[people],
        histories.ages_days[people],
        requests.context[people],
    )
