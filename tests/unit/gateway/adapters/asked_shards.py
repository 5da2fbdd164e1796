"""Retrieval in shards, asked through its adapter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.sharded_retrieval import ShardedRetrievalAdapter
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.stages import Retrieved
from tests.unit.gateway.adapters.shards import Script, Search
from twostage.bundle.generation import Generation
from twostage.rpc.calls import Calls

ITEM_COUNT = 60


def numbers(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=ITEM_COUNT).astype(np.float32)


def by(keys: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Rows, the highest key first, ties by row."""
    rows = np.arange(ITEM_COUNT) if rows is None else np.sort(rows)
    return rows[np.lexsort((rows, -keys[rows]))]


def user_vector(scores: NDArray[np.float32], **changed: Any) -> Script:
    return Script(scores, [Search("USER_VECTOR", scores)], **changed)


def ask(
    generation: Generation,
    targets: Any,
    *,
    count: int = 10,
    excluded: tuple[int, ...] = (),
    trace: bool = False,
    timeout_seconds: float = 5.0,
) -> Retrieved[CandidateMessage]:
    return ShardedRetrievalAdapter([Calls(target) for target in targets], generation).retrieve(
        RecommendRequest(trace=trace),
        Person(excluded_rows=excluded),
        generation=1,
        count=count,
        timeout_seconds=timeout_seconds,
    )
