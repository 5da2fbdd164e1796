from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.evaluation import ranking
from training.evaluation.ranking import best_rows, rank_in_batches, tie_order

SCORE = st.one_of(st.sampled_from([0.0, -0.0, -np.inf, 1.0]), st.floats(-1024, 1024, width=32))


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(st.data())
def test_best_rows_are_those_of_a_full_sort(data: st.DataObject) -> None:
    item_count = data.draw(st.integers(1, 10))
    scores = data.draw(st.lists(SCORE, min_size=item_count, max_size=item_count))
    withheld = data.draw(st.sets(st.integers(0, item_count - 1)))
    k = data.draw(st.integers(1, 12))
    excluded = csr_array((np.ones(len(withheld)), ([0] * len(withheld), sorted(withheld))), shape=(1, item_count))
    offered = [row for row in range(item_count) if row not in withheld and scores[row] != -np.inf]
    places = tie_order(item_count)
    expected = sorted(offered, key=lambda row: (-scores[row], places[row]))[:k]
    answer = best_rows(np.array([scores], dtype=np.float32), excluded, k)
    assert answer.dtype == np.int32
    assert answer[0].tolist() == expected + [-1] * (k - len(expected))


def test_ties_follow_no_order_of_the_source_and_are_the_same_each_time() -> None:
    scores = np.zeros((2, 50), dtype=np.float32)
    first, second = best_rows(scores, csr_array((2, 50)), 50)
    assert first.tolist() == second.tolist()
    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() != list(range(50))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_cannot_be_ranked_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="scores: expected numbers or -inf"):
        best_rows(np.array([[0.0, bad]], dtype=np.float32), csr_array((1, 2)), 1)


def test_a_list_of_no_items_is_refused() -> None:
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        best_rows(np.zeros((1, 2), dtype=np.float32), csr_array((1, 2)), 0)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(11, 6)).astype(np.float32)
    excluded = csr_array(rng.random((11, 6)) < 0.3)
    users = np.array([7, 0, 3, 10, 5], dtype=np.int32)
    whole = best_rows(table[users], excluded[users], 4)
    monkeypatch.setattr(ranking, "_SCORES_PER_BATCH", 12)
    sizes: list[int] = []

    def score(batch: NDArray[np.integer]) -> NDArray[np.float32]:
        sizes.append(len(batch))
        picked: NDArray[np.float32] = table[batch]
        return picked

    assert rank_in_batches(users, excluded, 4, score).tolist() == whole.tolist()
    assert sizes == [2, 2, 1]
