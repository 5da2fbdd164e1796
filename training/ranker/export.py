"""Exports the ranker: tables for the item side, and a graph that reads their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.errors import ExportMismatch
from training.ranker.candidates import CandidateLists, Requests
from training.ranker.effects import history_effects
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.item_inputs import ItemInputs
from training.ranker.item_table import ItemTable
from training.towers.export import TOLERANCE
from twostage.features.context import CONTEXT_SIZE
from twostage.features.history import HISTORY_LENGTH
from twostage.features.model_inputs import (
    ACTION_SCORES,
    BY_ROW,
    CANDIDATE_FEATURES,
    CANDIDATE_ROWS,
    CONTEXT,
    HISTORY_ACTIONS,
    HISTORY_AGES_DAYS,
    HISTORY_CODES,
    HISTORY_EFFECTS,
    HISTORY_FEATURES,
    HISTORY_MASK,
    HISTORY_NUMBERS,
    HISTORY_VALUES,
    RANKER_INPUTS,
    RETRIEVAL_SCORES,
    ROW_INPUTS,
)

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
"""Where TensorFlow Serving looks for records to run before it calls a version available."""

SERVING_DEFAULT = "serving_default"
"""The signature that reads features."""

_TABLE_DTYPES = {"float32": np.float32, "float16": np.float16}
_HALF_TOLERANCE = 5e-3
# The same numbers go through the same operations: rows and features differ by the last bits at most.
_ROWS_TOLERANCE = 1e-6


def ranker_tables(
    model: Ranker, items: ItemInputs, dtype: str = "float32"
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The candidate table [N, C] and the history table [N, H].

    Args:
        model: The ranker.
        items: The items as of publishing.
        dtype: ``float32`` or ``float16``.

    Raises:
        ValueError: The dtype is another.
    """
    if dtype not in _TABLE_DTYPES:
        raise ValueError(f"table_dtype: expected float32 or float16, got {dtype!r}")
    factors = items.factors.reshape(len(items), -1)
    candidates = model.candidate_table(items.vectors, items.features, factors)
    return candidates.astype(_TABLE_DTYPES[dtype]), items.history_table.astype(_TABLE_DTYPES[dtype])


def export_ranker(
    model: Ranker,
    path: Path,
    items: ItemInputs,
    tables: tuple[NDArray[np.floating], NDArray[np.floating]],
    requests: Requests,
    candidates: CandidateLists,
    *,
    model_name: str,
    version: int,
    by_row: bool = False,
) -> None:
    """Writes the ranker as a SavedModel for TensorFlow Serving, with warm-up records, and compares its scores.

    The user side has a first dimension of 1 and is encoded once; the item side stands ready in the table. Beside
    ``serving_default`` there is ``history_effects``, which tells what each entry of the history does for a score; see
    twostage.features.model_inputs. With the tables inside the model, ``by_row`` reads rows of them.

    Args:
        model: The calibrated ranker.
        path: The SavedModel's folder, which does not exist yet.
        items: The items as of publishing.
        tables: Of :func:`ranker_tables`; their dtype is that of the graph's inputs.
        requests: Requests to compare and warm up with, at least one.
        candidates: Their candidates.
        model_name: The model's name in TensorFlow Serving, for the warm-up records.
        version: Its version, the generation's number.
        by_row: Puts the tables into the model; False by default.

    Raises:
        ExportMismatch: The exported graph scores differently from the whole model, or by rows differently from by
            features.
    """
    dtype = tf.as_dtype(tables[0].dtype)
    specs = {
        HISTORY_FEATURES: tf.TensorSpec((1, HISTORY_LENGTH, model.history_size), dtype, HISTORY_FEATURES),
        HISTORY_MASK: tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_MASK),
        HISTORY_ACTIONS: tf.TensorSpec((1, HISTORY_LENGTH), tf.int32, HISTORY_ACTIONS),
        HISTORY_VALUES: tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_VALUES),
        HISTORY_AGES_DAYS: tf.TensorSpec((1, HISTORY_LENGTH), tf.float32, HISTORY_AGES_DAYS),
        CONTEXT: tf.TensorSpec((1, CONTEXT_SIZE), tf.float32, CONTEXT),
        CANDIDATE_FEATURES: tf.TensorSpec((None, model.candidate_size), dtype, CANDIDATE_FEATURES),
        RETRIEVAL_SCORES: tf.TensorSpec((None,), tf.float32, RETRIEVAL_SCORES),
    }

    def read(tensors: Sequence[tf.Tensor]) -> tuple[UserBatch, tf.Tensor, tf.Tensor]:
        given = dict(zip(specs, tensors, strict=True))
        user = UserBatch(
            tf.cast(given[HISTORY_FEATURES], tf.float32),
            given[HISTORY_MASK],
            given[HISTORY_ACTIONS],
            given[HISTORY_VALUES],
            given[HISTORY_AGES_DAYS],
            given[CONTEXT],
        )
        return user, tf.cast(given[CANDIDATE_FEATURES], tf.float32), given[RETRIEVAL_SCORES]

    def score(user: UserBatch, rows: tf.Tensor, retrieval_scores: tf.Tensor) -> dict[str, tf.Tensor]:
        side = model.encode_user(user).single()
        return {ACTION_SCORES: tf.nn.sigmoid(model.score(side, rows, retrieval_scores))}

    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return score(*read(tensors))

    def tell_effects(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return {HISTORY_EFFECTS: history_effects(model, *read(tensors))}

    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, endpoint in ((SERVING_DEFAULT, serve), (HISTORY_EFFECTS, tell_effects)):
        archive.add_endpoint(name=name, fn=endpoint, input_signature=list(specs.values()))
    if by_row:
        table = ItemTable(model, tables)

        def serve_rows(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
            return score(*table.read(*tensors))

        archive.add_endpoint(name=BY_ROW, fn=serve_rows, input_signature=list(table.specs().values()))
    archive.write_out(str(path), verbose=False)
    signatures = (loaded := tf.saved_model.load(str(path))).signatures
    warm_ups: list[tuple[str, Mapping[str, NDArray[Any]]]] = []
    for person in range(len(requests)):
        inputs = request_inputs(tables, requests, candidates, person)
        received = _answer(signatures[SERVING_DEFAULT], inputs)
        expected = _whole_model(model, items, requests, candidates, person)
        _compare("the whole model's", expected, received, _HALF_TOLERANCE if dtype == tf.float16 else TOLERANCE)
        warm_ups.append((SERVING_DEFAULT, inputs))
        if by_row:
            rows = row_inputs(requests, candidates, person)
            _compare("by rows the same", received, _answer(signatures[BY_ROW], rows), _ROWS_TOLERANCE)
            warm_ups.append((BY_ROW, rows))
    # A signature does not keep the model's variables alive.
    del loaded
    _write_warm_up(path, warm_ups, model_name, version)


def row_inputs(requests: Requests, candidates: CandidateLists, person: int) -> dict[str, NDArray[Any]]:
    """One request's inputs of a signature that reads rows, by name."""
    histories, one = requests.histories, slice(person, person + 1)
    rows = candidates.rows[person]
    present = rows >= 0
    history_rows = np.where(histories.mask[one] > 0, histories.rows[one], -1)
    inputs: dict[str, NDArray[Any]] = {
        HISTORY_CODES: np.concatenate([history_rows, histories.actions[one]]).astype(np.int32),
        HISTORY_NUMBERS: np.concatenate([histories.values[one], histories.ages_days[one]]).astype(np.float32),
        CONTEXT: requests.context[one],
        CANDIDATE_ROWS: rows[present].astype(np.int32),
        RETRIEVAL_SCORES: candidates.scores[person][present],
    }
    assert tuple(inputs) == ROW_INPUTS
    return inputs


def request_inputs(
    tables: tuple[NDArray[np.floating], NDArray[np.floating]],
    requests: Requests,
    candidates: CandidateLists,
    person: int,
) -> dict[str, NDArray[Any]]:
    """One request's inputs by name, gathered from the tables as the ranking service gathers them."""
    histories = requests.histories
    rows = candidates.rows[person]
    present = rows >= 0
    one = slice(person, person + 1)
    history = tables[1][histories.rows[one]] * histories.mask[one, :, None].astype(tables[1].dtype)
    inputs: dict[str, NDArray[Any]] = {
        HISTORY_FEATURES: history,
        HISTORY_MASK: histories.mask[one],
        HISTORY_ACTIONS: histories.actions[one],
        HISTORY_VALUES: histories.values[one],
        HISTORY_AGES_DAYS: histories.ages_days[one],
        CONTEXT: requests.context[one],
        CANDIDATE_FEATURES: tables[0][rows[present]],
        RETRIEVAL_SCORES: candidates.scores[person][present],
    }
    assert set(inputs) == set(RANKER_INPUTS)
    return inputs


def _whole_model(
    model: Ranker, items: ItemInputs, requests: Requests, candidates: CandidateLists, person: int
) -> NDArray[np.float32]:
    """The trained model's probabilities, item side included, without any table."""
    rows = candidates.rows[person][candidates.rows[person] >= 0]
    histories, one = requests.histories, slice(person, person + 1)
    logits = model(
        {
            "vectors": tf.constant(items.vectors[rows]),
            "item_features": tf.constant(items.features[rows]),
            "factors": tf.constant(items.factors[rows].reshape(len(rows), -1)),
            "history": tf.constant(items.history_table[histories.rows[one]]),
            "mask": tf.constant(histories.mask[one]),
            "actions": tf.constant(histories.actions[one]),
            "values": tf.constant(histories.values[one]),
            "ages_days": tf.constant(histories.ages_days[one]),
            "context": tf.constant(requests.context[one]),
            "retrieval_scores": tf.constant(candidates.scores[person][candidates.rows[person] >= 0]),
        }
    )
    probabilities: NDArray[np.float32] = tf.nn.sigmoid(logits)[0].numpy()
    return probabilities


def _answer(signature: Any, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = signature(**{name: tf.constant(array) for name, array in inputs.items()})[
        ACTION_SCORES
    ].numpy()
    return scores


def _compare(whose: str, expected: NDArray[np.float32], received: NDArray[np.float32], tolerance: float) -> None:
    off = np.abs(expected - received).max(initial=0.0) if expected.shape == received.shape else np.nan
    if not off <= tolerance:
        raise ExportMismatch(
            f"ranker: expected {whose} scores {expected.shape} within {tolerance:g}, got {received.shape} "
            f"off by {off:g}"
        )


def _write_warm_up(
    path: Path, requests: Sequence[tuple[str, Mapping[str, NDArray[Any]]]], model_name: str, version: int
) -> None:
    """Writes a record for each request; requests are signatures with their inputs."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2  # noqa: PLC0415 - two seconds

    file = path / WARM_UP_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.version.value = version
            request.model_spec.signature_name = signature
            for name, array in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(np.ascontiguousarray(array)))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
