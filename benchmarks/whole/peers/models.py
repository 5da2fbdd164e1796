"""The bundle's models behind plain classes: user tower and index, and the ranker."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.whole.peers.bundle_files import BundleFiles, Person

_DAY = 86_400
_WEEK = 7 * _DAY
_REFINED = ("ivf_pq", "rabitq")


class Taste:
    """Which of what a person did the models read.

    Args:
        manifest: The bundle's.
    """

    def __init__(self, manifest: dict[str, Any]) -> None:
        self._recorded: list[str] = manifest["recorded_actions"]
        self._rules = [
            (action["source"], action["name"], action["min_value"]) for action in manifest["actions"] if action["taste"]
        ]

    def of(self, person: Person) -> list[int]:
        """The positions of it in a person's history."""
        pairs = zip(person.actions, person.values, strict=True)
        return [position for position, (code, value) in enumerate(pairs) if self._is_taste(self._recorded[code], value)]

    def _is_taste(self, recorded: str, value: float) -> bool:
        return any(
            recorded == name if recorded != source else least is None or value >= least
            for source, name, least in self._rules
        )


class Retriever:
    """A person's taste to the nearest items: the user tower in LiteRT, then FAISS.

    Args:
        bundle: The files.
    """

    def __init__(self, bundle: BundleFiles) -> None:
        import faiss  # noqa: PLC0415 - a process that only ranks does without

        entry = bundle.tower["index"]
        self._vectors = bundle.table(bundle.tower["item_vectors"])
        self._length = int(bundle.tower["history_length"])
        self._tower_file = str(bundle.folder / bundle.tower["user_tower"])
        self._index = faiss.read_index(str(bundle.folder / entry["file"]))
        if entry.get("probe_count"):
            faiss.extract_index_ivf(self._index).nprobe = entry["probe_count"]
        self._pool_factor = float(entry.get("pool_factor") or 1.0)
        self._refined = entry["family"] in _REFINED
        self._local = threading.local()

    def retrieve(self, taste_rows: list[int], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest items, best first: rows and inner products; fewer where the index finds fewer."""
        user = self._encode(taste_rows)
        _, found = self._index.search(user, max(count, math.ceil(count * self._pool_factor)))
        rows = found[0][found[0] >= 0]
        # Codes give an order that the item vectors refine, as the bundle's manifest says.
        scores = np.asarray(self._vectors[rows], np.float32) @ user[0]
        if self._refined:
            order = np.argsort(-scores, kind="stable")[:count]
            rows, scores = rows[order], scores[order]
        return rows[:count], scores[:count]

    def _encode(self, rows: list[int]) -> NDArray[np.float32]:
        interpreter, inputs, output = self._interpreter()
        newest = rows[-self._length :]
        vectors = np.zeros((1, self._length, self._vectors.shape[1]), np.float32)
        mask = np.zeros((1, self._length), np.float32)
        vectors[0, : len(newest)] = self._vectors[newest]
        mask[0, : len(newest)] = 1.0
        interpreter.set_tensor(inputs[0], vectors)
        interpreter.set_tensor(inputs[1], mask)
        interpreter.invoke()
        user: NDArray[np.float32] = interpreter.get_tensor(output)
        return user

    def _interpreter(self) -> tuple[Any, tuple[int, int], int]:
        """One for each thread, for they are not safe to share."""
        if not hasattr(self._local, "made"):
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - as above

            interpreter = Interpreter(model_path=self._tower_file, num_threads=1)
            interpreter.allocate_tensors()
            inputs = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
            of = {
                part: next(i for name, i in inputs.items() if f"history_{part}" in name) for part in ("vectors", "mask")
            }
            runner = interpreter.get_signature_runner()
            outputs = runner.get_output_details()
            self._local.made = interpreter, (of["vectors"], of["mask"]), outputs["user_vector"]["index"]
        made: tuple[Any, tuple[int, int], int] = self._local.made
        return made


class Ranking:
    """Candidates to scores, by a SavedModel in this process.

    Where the bundle's own model holds the items' features and reads rows, rows are what it is fed.

    Args:
        bundle: The files.
        model: Another SavedModel, which reads features; the bundle's own ranker when None.
        threads: Of TensorFlow, inside an operation and between them; its own choice when None.
    """

    def __init__(self, bundle: BundleFiles, model: Path | None = None, threads: int | None = None) -> None:
        import tensorflow as tf  # noqa: PLC0415 - a process that only retrieves does without

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        entry = bundle.ranker
        by_row = entry.get("by_row") if model is None else None
        self._constant = tf.constant
        # A signature does not keep its model's variables alive.
        self._model = tf.saved_model.load(str(model or bundle.ranker_model))
        self._signature = self._model.signatures[by_row["signature"] if by_row else "serving_default"]
        self._output = str(entry["output"])
        self._wanted: list[str] = sorted(self._signature.structured_input_signature[1])
        self._candidates = bundle.table(entry["candidate_table"])
        self._histories = bundle.table(entry["history_table"]) if entry.get("history_table") else None
        self._has_times = bool(bundle.manifest["source"]["has_times"])
        self._length = int(bundle.tower["history_length"])
        weights = np.array([entry["blend"].get(name, 0.0) for name in entry["actions"]], np.float64)
        self._weights = weights / weights.sum()

    def rank(
        self,
        person: Person,
        taste: list[int],
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        count: int,
        now_seconds: float | None = None,
    ) -> list[int]:
        """The rows of the best candidates, best first."""
        now = (time.time() if now_seconds is None else now_seconds) if self._has_times else 0.0
        known = history_inputs(person, taste, self._length, int(now))
        known["context"] = _context(int(now), len(taste))
        known["candidate_rows"] = rows.astype(np.int32)
        known["retrieval_scores"] = np.asarray(scores, np.float32)
        if "candidate_features" in self._wanted:
            known["candidate_features"] = self._candidates[rows]
        if "history_features" in self._wanted and self._histories is not None:
            features = self._histories[np.maximum(known["history_codes"][0], 0)]
            known["history_features"] = (features * known["history_mask"][0, :, None].astype(features.dtype))[None]
        answer = self._signature(**{name: self._constant(known[name]) for name in self._wanted})
        blended = answer[self._output].numpy().astype(np.float64) @ self._weights
        best: list[int] = rows[np.argsort(-blended, kind="stable")[:count]].tolist()
        return best


def history_inputs(person: Person, taste: list[int], length: int, now: int) -> dict[str, NDArray[Any]]:
    """What rankers read of a history, by the names in the manifest.

    Args:
        person: Whose.
        taste: The positions of what is read, oldest first; the newest ``length`` are used.
        length: How long arrays are.
        now: Unix seconds, 0 when nobody knows.
    """
    newest = taste[-length:]
    count = len(newest)
    codes, numbers = np.zeros((2, length), np.int32), np.zeros((2, length), np.float32)
    codes[0] = -1
    codes[0, :count] = [person.rows[position] for position in newest]
    codes[1, :count] = [1 + person.actions[position] for position in newest]
    numbers[0, :count] = np.nan_to_num(np.array([person.values[position] for position in newest], np.float32))
    if now > 0:
        times = np.array([person.times[position] for position in newest], np.float64)
        numbers[1, :count] = np.where(times > 0, np.maximum(now - times, 0), 0) / _DAY
    return {
        "history_codes": codes,
        "history_numbers": numbers,
        "history_mask": (np.arange(length) < count).astype(np.float32)[None],
        "history_actions": codes[1:],
        "history_values": numbers[:1],
        "history_ages_days": numbers[1:],
    }


def _context(now: int, history_count: int) -> NDArray[np.float32]:
    context = np.zeros((1, 6), np.float32)
    if now > 0:
        hour, week = 2 * math.pi * (now % _DAY) / _DAY, 2 * math.pi * (now % _WEEK) / _WEEK
        context[0, :5] = (1.0, math.sin(hour), math.cos(hour), math.sin(week), math.cos(week))
    context[0, 5] = math.log1p(min(history_count, 50)) / math.log(51)
    return context
