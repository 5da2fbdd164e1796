"""A small generation with everything that ranking reads, and a scorer that needs no model server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import write_array
from twostage.bundle.manifest import ActionEntry, IndexEntry, RankerEntry, SchemaEntry, SourceEntry, TowerEntry
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter
from twostage.features import model_inputs

ITEM_COUNT = 60
DIMENSION = 8
ACTIONS = ("rated", "liked")
BLEND = {"rated": 1.0, "liked": 3.0}
GENRES = ("fantasy", "crime", "poetry")


def vectors() -> NDArray[np.float32]:
    """float32[60, 8], L2-normalised."""
    drawn = np.random.default_rng(3).normal(size=(ITEM_COUNT, DIMENSION))
    unit: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float32)


def candidate_table() -> NDArray[np.float16]:
    """float16[60, 4]."""
    return np.random.default_rng(4).normal(size=(ITEM_COUNT, 4)).astype(np.float16)


def history_table() -> NDArray[np.float32]:
    """float32[60, 3]."""
    return np.random.default_rng(5).normal(size=(ITEM_COUNT, 3)).astype(np.float32)


def genres(row: int) -> list[str]:
    """One genre in rotation, a second one for every fifth item."""
    return [GENRES[row % 3], *(["long"] if row % 5 == 0 else [])]


def publish(
    path: Path,
    *,
    rankers: Mapping[str, RankerEntry] | None = None,
    blend: Mapping[str, float] = BLEND,
    has_times: bool = True,
) -> Store:
    """Publishes one generation to the store at ``path``."""
    store = Store(path)
    with GenerationWriter(store) as writer:
        kinds = writer.write_items(
            item_ids=[f"b{row}" for row in range(ITEM_COUNT)],
            titles=[f"Book {row}" if row != 7 else "" for row in range(ITEM_COUNT)],
            popularity=np.arange(ITEM_COUNT, 0, -1).astype(np.float32),
            attributes={
                "genre": [genres(row) for row in range(ITEM_COUNT)],
                "year": np.array([1950.0 + row if row else np.nan for row in range(ITEM_COUNT)]),
            },
        )
        write_array(writer.path / "retrieval/main/vectors.npy", vectors())
        write_array(writer.path / "ranking/main/candidates.npy", candidate_table())
        write_array(writer.path / "ranking/main/histories.npy", history_table())
        writer.publish(
            {
                "created_at": "2025-01-01T00:00:00Z",
                "item_count": ITEM_COUNT,
                "recorded_actions": ["rated", "shelved"],
                "actions": [
                    ActionEntry(name="rated", source="rated", taste=False),
                    ActionEntry(name="liked", source="rated", min_value=4.0, taste=True),
                ],
                "feature_schema": SchemaEntry(title="title", text=["title"]),
                "attributes": kinds,
                "towers": {"main": _tower()},
                "default_tower": "main",
                "rankers": dict(rankers or {"main": ranker_entry(blend=blend)}),
                "default_ranker": "main",
                "source": SourceEntry(name="tiny", fingerprint="none", has_times=has_times),
            }
        )
    return store


def ranker_entry(**changes: Any) -> RankerEntry:
    """The ranker of :func:`publish`, with changes."""
    fields: dict[str, Any] = {
        "model": "main",
        "inputs": list(model_inputs.RANKER_INPUTS),
        "actions": list(ACTIONS),
        "candidate_table": "ranking/main/candidates.npy",
        "history_table": "ranking/main/histories.npy",
        "blend": dict(BLEND),
    }
    return RankerEntry(**{**fields, **changes})


def _tower() -> TowerEntry:
    return TowerEntry(
        dimension=DIMENSION,
        history_length=50,
        item_vectors="retrieval/main/vectors.npy",
        user_tower="retrieval/main/user.tflite",
        index=IndexEntry(family="exact", factory="Flat", file="retrieval/main/index.faiss"),
    )


class RetrievalScorer:
    """A scorer whose first action listens to the retrieval score and whose second is its complement's square.

    Args:
        offset: Added to every probability, to be off.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.calls: list[tuple[str, int, dict[str, NDArray[Any]], float]] = []

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        self.calls.append((model, version, dict(inputs), timeout_seconds))
        scores = inputs["retrieval_scores"]
        return np.stack([scores, (1 - scores) ** 2], axis=1) + np.float32(self.offset)


class EffectScorer(RetrievalScorer):
    """A scorer that also tells effects.

    Args:
        effects: [60, 50, A], by row; or None for a model that does not tell, or what is raised.
        pause_seconds: How long scoring takes.
    """

    def __init__(self, effects: NDArray[Any] | Exception | None, pause_seconds: float = 0.0) -> None:
        super().__init__()
        self.effects = effects
        self.pause_seconds = pause_seconds
        self.asked_rows: list[int] = []

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        time.sleep(self.pause_seconds)
        return super().score(model, version, inputs, timeout_seconds)

    def history_effects(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any] | None:
        assert (model, version) == self.calls[-1][:2]
        assert timeout_seconds > 0
        features = inputs["candidate_features"]
        self.asked_rows = [int(np.flatnonzero((candidate_table() == row).all(axis=1))[0]) for row in features]
        assert len(inputs["retrieval_scores"]) == len(features)
        if isinstance(self.effects, Exception):
            raise self.effects
        return None if self.effects is None else self.effects[self.asked_rows]


class FixedScorer:
    """A scorer that always gives the same answer.

    Args:
        answer: The answer.
    """

    def __init__(self, answer: NDArray[Any]) -> None:
        self.answer = answer

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        del model, version, inputs, timeout_seconds
        return self.answer
