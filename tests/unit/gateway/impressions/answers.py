"""Answers to be logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gateway.engine.ladder import Rung
from gateway.engine.person import HistoryColumns, Person
from gateway.engine.plan import Plan
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Recommendation, RecommendResponse
from gateway.engine.served import Served
from gateway.engine.stages import Ranked, RankedItem
from twostage.features.context import Context
from twostage.impressions.batches import impressions_of
from twostage.impressions.impression import Impression
from twostage.impressions.log import open_log


class Columns:
    """Candidates as arrays: rows 100 onwards, scores falling from 1."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def rows(self) -> NDArray[np.uint32]:
        return np.arange(100, 100 + self._count, dtype=np.uint32)

    def scores(self) -> NDArray[np.float32]:
        return np.linspace(1, 0, self._count, dtype=np.float32)

    def score(self, index: int) -> float:
        return float(self.scores()[index])

    def sources(self, index: int) -> Sequence[str]:
        return ("user_vector", "popular") if index % 2 else ("popular",)

    def source_ranks(self, index: int) -> Mapping[str, int]:  # noqa: ARG002 - the protocol's signature
        return {}

    def take(self, positions: Sequence[int]) -> Self:
        raise NotImplementedError


def served(
    request_id: str = "r1",
    *,
    indices: Sequence[int] = (2, 0),
    user_id: str = "ann",
    excluded_rows: Sequence[int] = (9, 3),
    action_scores: Sequence[Mapping[str, float]] | None = None,
    **more: Any,
) -> Served:
    """An answer that shows the candidates at ``indices``, the first with score 0.9, each next one 0.1 less."""
    candidates = Columns(5)
    scores = action_scores or [{"liked": 0.5 - place / 10, "read": 0.25} for place in range(len(indices))]
    items = [
        RankedItem(f"i{index}", 0.9 - place / 10, index, "title", scores[place], {}, 0, ())
        for place, index in enumerate(indices)
    ]
    shown = [
        Recommendation(
            item.item_id,
            item.score,
            item.title,
            item.action_scores,
            sources=candidates.sources(item.candidate_index),
            candidate_rank=item.candidate_index + 1,
        )
        for item in items
    ]
    response = RecommendResponse(request_id, shown, None, 3, Rung.FULL, ranker="content")
    history = HistoryColumns([1, 2], ["rated", "read"], [4.5, float("nan")], [1_700_000_000, 0])
    fields: dict[str, Any] = {
        "request": RecommendRequest(user_id, context=Context(time_seconds=1_700_000_100), count=len(indices)),
        "plan": Plan(candidate_count=5),
        "person": Person(history, excluded_rows, 1),
        "pinned_rows": (),
        "candidates": candidates,
        "ranked": Ranked(items, (), "content"),
        "response": response,
        "unix_seconds": 1_700_000_123.25,
    }
    return Served(**(fields | more))


def logged(folder: Path) -> list[Impression]:
    """What the complete files of a folder hold."""
    return [each for batch in open_log(folder).impressions() for each in impressions_of(batch)]


def names(impressions: Iterable[Impression]) -> list[str]:
    return [each.request_id for each in impressions]
