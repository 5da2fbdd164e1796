"""The item table inside a ranker's SavedModel, so that requests carry rows in place of features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.names import ITEM_TABLES
from twostage.features.context import CONTEXT_SIZE
from twostage.features.history import HISTORY_LENGTH
from twostage.features.model_inputs import (
    CANDIDATE_ROWS,
    CONTEXT,
    HISTORY_CODES,
    HISTORY_NUMBERS,
    RETRIEVAL_SCORES,
    ROW_INPUTS,
)

MAX_AUTO_BYTES = 2 * 1024**3
"""What the item tables of all rankers of a generation may take together where nobody decides: 2 GiB."""


def item_table_bytes(model: Ranker, item_count: int, dtype: str) -> int:
    """Bytes that a ranker's item table takes in the model server, for each generation that it holds.

    Args:
        model: The ranker.
        item_count: N.
        dtype: ``float32`` or ``float16``.
    """
    width = model.encoded_size + model.factor_width + model.vector_size
    return item_count * width * np.dtype(dtype).itemsize


def rankers_with_table(choice: str, byte_counts: Mapping[str, int]) -> frozenset[str]:
    """Decides which rankers hold their item table in the model.

    Args:
        choice: ``model`` for all, ``request`` for none; ``auto`` for the first ones, the default one before all others,
            as long as their tables take no more than MAX_AUTO_BYTES together.
        byte_counts: Of :func:`item_table_bytes`, by ranker, the default one first.

    Raises:
        ValueError: The choice is another.
    """
    if choice not in ITEM_TABLES:
        raise ValueError(f"item_table: expected one of {', '.join(ITEM_TABLES)}, got {choice!r}")
    if choice != "auto":
        return frozenset(byte_counts if choice == "model" else ())
    sums = np.cumsum([*byte_counts.values()], dtype=np.int64)
    return frozenset(name for name, total in zip(byte_counts, sums.tolist(), strict=True) if total <= MAX_AUTO_BYTES)


class ItemTable:
    """The candidate table and the history table as variables of a SavedModel.

    Three parts rather than the two tables: both hold the items' collaborative vectors, and so it is a third less. They
    are kept in the tables' dtype and widened after they were gathered. Variables, not constants: a graph has a limit of
    2 GiB.

    Args:
        model: The ranker.
        tables: Of training.ranker.export.ranker_tables.
    """

    def __init__(self, model: Ranker, tables: tuple[NDArray[np.floating], NDArray[np.floating]]) -> None:
        candidates, histories = tables
        split = model.encoded_size
        self._encoded = _variable(candidates[:, :split], "encoded")
        self._vectors = _variable(histories[:, : model.vector_size], "vectors")
        self._factors = _variable(candidates[:, split:], "factors") if model.factor_width else None

    @staticmethod
    def specs() -> dict[str, tf.TensorSpec]:
        """The inputs of a signature that reads rows, in the order in which :meth:`read` takes them."""
        specs = {
            HISTORY_CODES: tf.TensorSpec((2, HISTORY_LENGTH), tf.int32, HISTORY_CODES),
            HISTORY_NUMBERS: tf.TensorSpec((2, HISTORY_LENGTH), tf.float32, HISTORY_NUMBERS),
            CONTEXT: tf.TensorSpec((1, CONTEXT_SIZE), tf.float32, CONTEXT),
            CANDIDATE_ROWS: tf.TensorSpec((None,), tf.int32, CANDIDATE_ROWS),
            RETRIEVAL_SCORES: tf.TensorSpec((None,), tf.float32, RETRIEVAL_SCORES),
        }
        assert tuple(specs) == ROW_INPUTS
        return specs

    def read(
        self, codes: tf.Tensor, numbers: tf.Tensor, context: tf.Tensor, rows: tf.Tensor, retrieval_scores: tf.Tensor
    ) -> tuple[UserBatch, tf.Tensor, tf.Tensor]:
        """Gathers what a ranker reads; a row past the table is the graph's own error."""
        history_rows = codes[:1]
        user = UserBatch(
            self._gather(self._vectors, tf.maximum(history_rows, 0)),
            tf.cast(history_rows >= 0, tf.float32),
            codes[1:],
            numbers[:1],
            numbers[1:],
            context,
        )
        return user, self._gather(self._encoded, rows), retrieval_scores

    def _gather(self, part: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
        gathered = tf.gather(part, rows)
        if self._factors is not None:
            gathered = tf.concat([gathered, tf.gather(self._factors, rows)], axis=-1)
        return tf.cast(gathered, tf.float32)


def _variable(array: NDArray[np.floating], name: str) -> tf.Variable:
    return tf.Variable(array, trainable=False, name=f"item_table_{name}")
