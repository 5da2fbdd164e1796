from __future__ import annotations

import numpy as np

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.reasons import reasons, taste_rows
from twostage.features.history import History


def _history(entries: list[tuple[int, int, float]]) -> History:
    rows, actions, values = zip(*entries, strict=True)
    return History(
        np.array(rows, np.uint32),
        np.array(actions, np.int32),
        np.array(values, np.float32),
        np.zeros(len(rows), np.int64),
    )


def test_disliked_items_are_no_reason_and_unknown_actions_are(engine: RankingEngine) -> None:
    schema = engine.generation.manifest.action_schema
    history = _history([(1, 1, 5.0), (2, 1, 2.0), (3, 0, np.nan), (4, 2, np.nan), (1, 1, 4.0)])
    assert taste_rows(history, schema, ["rated", "shelved"]).tolist() == [1, 3]


def test_the_three_most_alike_are_named_best_first() -> None:
    vectors = np.array([[1, 0], [1, 0], [0.8, 0.6], [0.6, 0.8], [0.9, np.sqrt(0.19)], [-1, 0]], np.float32)
    named = reasons(np.array([0], np.uint32), np.array([3, 2, 1, 4, 5], np.uint32), vectors, lambda row: f"T{row}", str)
    assert named == [
        ["because of T1 (likeness 1.00)", "because of T4 (likeness 0.90)", "because of T2 (likeness 0.80)"]
    ]


def test_an_item_is_no_reason_for_itself_and_unlike_items_are_none() -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    named = reasons(np.array([0, 2], np.uint32), np.array([0, 1], np.uint32), vectors, lambda row: f"T{row}", str)
    assert named == [[], []]


def test_an_untitled_item_is_named_by_its_id() -> None:
    vectors = np.array([[1, 0], [1, 0]], np.float32)
    named = reasons(np.array([0], np.uint32), np.array([1], np.uint32), vectors, lambda _: "", lambda row: f"id-{row}")
    assert named == [["because of id-1 (likeness 1.00)"]]


def test_without_a_history_there_are_no_reasons() -> None:
    vectors = np.ones((2, 2), np.float32)
    assert reasons(np.array([0, 1], np.uint32), np.array([], np.uint32), vectors, str, str) == [[], []]
