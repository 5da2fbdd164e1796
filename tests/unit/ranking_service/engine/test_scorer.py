from __future__ import annotations

import numpy as np
import pytest

from ranking_service.engine.errors import ModelAnswerInvalid
from ranking_service.engine.scorer import checked_answer


def test_a_fitting_answer_passes_as_float32() -> None:
    answer = np.array([[0.25, 0.5]], np.float64)
    checked = checked_answer(answer, "main", 7, 1, 2)
    assert checked.dtype == np.float32
    assert checked.tolist() == [[0.25, 0.5]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((2, 2), np.float32), r"version 7: expected scores of shape \(3, 2\), received shape \(2, 2\)"),
        (np.zeros(6, np.float32), r"received shape \(6,\)"),
        (np.zeros((3, 2), np.int64), "floating-point scores, received int64"),
        (
            np.array([[0, 0], [0, np.nan], [0, 0]], np.float32),
            "received nan for action 1 of candidate 1",
        ),
        (np.array([[0, 0], [0, 0], [np.inf, 0]], np.float32), "received inf for action 0 of candidate 2"),
    ],
)
def test_an_answer_no_ranking_can_be_made_of_is_refused(answer: np.ndarray, message: str) -> None:
    with pytest.raises(ModelAnswerInvalid, match=message):
        checked_answer(answer, "main", 7, 3, 2)
