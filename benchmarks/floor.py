"""The floor: user tower, index and ranker graph called directly, in one process, on one thread.

The graph is the one that the system serves, by rows where the ranker offers them.

Run as a process of its own, so that its threads and its memory are its own: ``python -m benchmarks.floor STORE COUNT``
prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.people import known_histories
from twostage.bundle.store import Store
from twostage.features import model_inputs
from twostage.features.context import Context, encode_context
from twostage.features.history import History, PaddedHistory, pack_history, pad_history

CANDIDATE_COUNT = 500


def main() -> None:
    """Measures each part and all of them, in milliseconds of wall and CPU time, medians and means."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    store = Store(Path(sys.argv[1]))
    repeat_count = int(sys.argv[2])
    generation = store.open()
    histories = [History.of_rows(rows) for rows in known_histories(store, limit=200)]
    steps = [
        _user_tower(generation.path / generation.manifest.tower.user_tower),
        _index(generation.path / generation.manifest.tower.index.file, generation.manifest.tower.index.probe_count),
        _ranker(store),
    ]
    vectors = generation.array(generation.manifest.tower.item_vectors)
    ranker = generation.manifest.ranker
    candidate_table = generation.array(ranker.candidate_table)
    history_table = generation.array(ranker.history_table) if ranker.history_table else None

    def ranker_inputs(history: History, padded: PaddedHistory, rows: Any, scores: Any) -> dict[str, NDArray[Any]]:
        context = encode_context(Context(), len(history))
        if ranker.by_row is not None:
            codes, numbers = pack_history(history)
            by_row = {
                model_inputs.HISTORY_CODES: codes,
                model_inputs.HISTORY_NUMBERS: numbers,
                model_inputs.CONTEXT: context,
                model_inputs.CANDIDATE_ROWS: rows.astype(np.int32),
                model_inputs.RETRIEVAL_SCORES: scores,
            }
            return {name: by_row[name] for name in ranker.by_row.inputs}
        known = {
            model_inputs.HISTORY_FEATURES: None if history_table is None else history_table[padded.rows],
            model_inputs.HISTORY_MASK: padded.mask,
            model_inputs.HISTORY_ACTIONS: padded.actions,
            model_inputs.HISTORY_VALUES: padded.values,
            model_inputs.HISTORY_AGES_DAYS: padded.ages_days,
            model_inputs.CONTEXT: context,
            model_inputs.CANDIDATE_FEATURES: candidate_table[rows],
            model_inputs.RETRIEVAL_SCORES: scores,
        }
        return {name: known[name] for name in ranker.inputs}

    prepared = []
    for history in histories:
        padded = pad_history(history)
        tower_inputs = (vectors[padded.rows], padded.mask)
        user_vector = steps[0](tower_inputs).copy()
        scores, rows = steps[1](user_vector)
        prepared.append((tower_inputs, user_vector, ranker_inputs(history, padded, rows[0], scores[0])))

    def whole(position: int) -> None:
        tower_inputs, _, ranker_inputs = prepared[position]
        steps[1](steps[0](tower_inputs))
        steps[2](ranker_inputs)

    count = len(prepared)
    figures = {
        "user_tower": _measure(lambda i: steps[0](prepared[i % count][0]), repeat_count),
        "index": _measure(lambda i: steps[1](prepared[i % count][1]), repeat_count),
        "ranker": _measure(lambda i: steps[2](prepared[i % count][2]), repeat_count),
        "whole": _measure(lambda i: whole(i % count), repeat_count),
    }
    print(json.dumps(figures))


def _measure(call: Callable[[int], Any], repeat_count: int) -> dict[str, float]:
    for position in range(50):
        call(position)
    walls = np.empty(repeat_count)
    cpu = time.process_time()
    for position in range(repeat_count):
        started = time.perf_counter()
        call(position)
        walls[position] = time.perf_counter() - started
    cpu = time.process_time() - cpu
    return {"wall_ms": float(np.median(walls)) * 1e3, "cpu_ms": cpu / repeat_count * 1e3}


def _user_tower(path: Path) -> Callable[[Any], NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - after the environment is set

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    index_of = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    vectors_index = next(i for name, i in index_of.items() if model_inputs.HISTORY_VECTORS in name)
    mask_index = next(i for name, i in index_of.items() if model_inputs.HISTORY_MASK in name)
    output_index = interpreter.get_output_details()[0]["index"]

    def call(inputs: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.float32]:
        interpreter.set_tensor(vectors_index, inputs[0])
        interpreter.set_tensor(mask_index, inputs[1])
        interpreter.invoke()
        vector: NDArray[np.float32] = interpreter.get_tensor(output_index)
        return vector

    return call


def _index(path: Path, probe_count: int | None) -> Callable[[Any], tuple[NDArray[np.float32], NDArray[np.int64]]]:
    import faiss  # noqa: PLC0415 - after the environment is set

    faiss.omp_set_num_threads(1)
    index = faiss.read_index(str(path))
    if probe_count:
        faiss.extract_index_ivf(index).nprobe = probe_count

    def call(vector: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores, rows = index.search(vector, CANDIDATE_COUNT)
        return scores, rows

    return call


def _ranker(store: Store) -> Callable[[Any], Any]:
    import tensorflow as tf  # noqa: PLC0415 - after the environment is set

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    generation = store.open()
    entry = generation.manifest.ranker
    model = tf.saved_model.load(str(store.models_path / entry.model / str(generation.number)))
    signature = model.signatures[entry.signature if entry.by_row is None else entry.by_row.signature]

    def call(inputs: dict[str, NDArray[Any]]) -> Any:
        answer = signature(**{name: tf.constant(array) for name, array in inputs.items()})
        return answer[entry.output].numpy()

    # The signature does not keep the model's variables alive.
    call.model = model  # type: ignore[attr-defined]
    return call


if __name__ == "__main__":
    main()
