"""The ranker as tutorials export one: a person and an item in, as often as there are items."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from training.ranker.families.ranker import Ranker, UserBatch
from twostage.features.context import CONTEXT_SIZE
from twostage.features.history import HISTORY_LENGTH
from twostage.features.model_inputs import (
    ACTION_SCORES,
    CANDIDATE_FEATURES,
    CONTEXT,
    HISTORY_ACTIONS,
    HISTORY_AGES_DAYS,
    HISTORY_FEATURES,
    HISTORY_MASK,
    HISTORY_VALUES,
    RETRIEVAL_SCORES,
)


def export_pairwise(model: Ranker, path: Path, table_dtype: str = "float32") -> None:
    """Writes a SavedModel of the same weights that meets the person anew for each candidate.

    Inputs and output have the names of `twostage.features.model_inputs`. The user side has a first dimension of 1 and
    is repeated in the graph, so that the caller does not have to copy it.

    Args:
        model: The trained ranker.
        path: A folder that does not exist yet.
        table_dtype: That of the tables whose rows are fed, ``float32`` or ``float16``.
    """
    dtype = tf.as_dtype(table_dtype)
    specs = [
        tf.TensorSpec((1, HISTORY_LENGTH, model.history_size), dtype, HISTORY_FEATURES),
        tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_MASK),
        tf.TensorSpec((1, HISTORY_LENGTH), tf.int32, HISTORY_ACTIONS),
        tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_VALUES),
        tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_AGES_DAYS),
        tf.TensorSpec((1, CONTEXT_SIZE), tf.float32, CONTEXT),
        tf.TensorSpec((None, model.candidate_size), dtype, CANDIDATE_FEATURES),
        tf.TensorSpec((None,), tf.float32, RETRIEVAL_SCORES),
    ]

    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        features, *of_person, rows, retrieval_scores = tensors
        count = tf.shape(rows)[0]
        repeated = [tf.repeat(tensor, count, axis=0) for tensor in (tf.cast(features, tf.float32), *of_person)]
        side = model.encode_user(UserBatch(*repeated))
        logits = model.score(side, tf.cast(rows, tf.float32)[:, None], retrieval_scores[:, None])
        return {ACTION_SCORES: tf.nn.sigmoid(logits[:, 0])}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(name="serving_default", fn=serve, input_signature=specs)
    archive.write_out(str(path), verbose=False)
