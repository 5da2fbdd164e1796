from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from training.evaluation.metrics import average_precision, find_hits, hit_rate, ndcg, recall, reciprocal_rank

# Two relevant of four shown: places 2 and 3 hit, three items are relevant in all.
HITS = np.array([[False, True, True, False]])
THREE = np.array([3])


def test_hits_are_the_places_that_hold_relevant_rows() -> None:
    relevant = csr_array(np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]))
    ranked = np.array([[3, 2, 1], [0, 1, 2], [-1, -1, -1]], dtype=np.int32)
    assert find_hits(ranked, relevant).tolist() == [[True, False, True], [False] * 3, [False] * 3]


def test_padding_is_no_hit_although_the_last_item_of_the_previous_person_is_relevant() -> None:
    # User 1's -1 has the same flat position as user 0's last item.
    relevant = csr_array(np.array([[0, 1], [1, 0]]))
    assert not find_hits(np.array([[0], [-1]], dtype=np.int32), relevant).any()


def test_nothing_relevant_at_all_gives_no_hits() -> None:
    assert not find_hits(np.zeros((2, 3), dtype=np.int32), csr_array((2, 5))).any()


def test_lists_for_another_number_of_people_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 lists, one per row of relevant, got 1"):
        find_hits(np.zeros((1, 3), dtype=np.int32), csr_array((2, 5)))


def test_recall_divides_by_what_the_list_could_hold() -> None:
    assert recall(HITS, THREE, 4)[0] == pytest.approx(2 / 3)
    assert recall(HITS, THREE, 2)[0] == pytest.approx(1 / 2)


def test_ndcg_of_the_worked_example() -> None:
    gained = 1 / math.log2(3) + 1 / math.log2(4)
    ideal = 1 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(HITS, THREE, 4)[0] == pytest.approx(gained / ideal)
    assert ndcg(HITS, THREE, 2)[0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_reciprocal_rank_counts_the_first_hit_only() -> None:
    assert reciprocal_rank(HITS, THREE, 4)[0] == pytest.approx(1 / 2)
    assert reciprocal_rank(HITS, THREE, 1)[0] == 0


def test_average_precision_of_the_worked_example() -> None:
    assert average_precision(HITS, THREE, 4)[0] == pytest.approx((1 / 2 + 2 / 3) / 3)


def test_hit_rate_asks_for_one_hit() -> None:
    assert hit_rate(HITS, THREE, 1)[0] == 0
    assert hit_rate(HITS, THREE, 2)[0] == 1


def test_a_person_without_relevant_items_has_no_value() -> None:
    for metric in (recall, ndcg, reciprocal_rank, average_precision, hit_rate):
        assert np.isnan(metric(HITS, np.array([0]), 2)[0])


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_that_the_lists_do_not_have_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: expected 1 to 4 .* got {k}"):
        recall(HITS, THREE, k)


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(st.data())
def test_metrics_agree_with_counting_one_person_at_a_time(data: st.DataObject) -> None:
    item_count = data.draw(st.integers(1, 12))
    relevant = data.draw(st.sets(st.integers(0, item_count - 1), min_size=1))
    listed = data.draw(st.permutations(range(item_count)))
    k = data.draw(st.integers(1, item_count))
    matrix = csr_array((np.ones(len(relevant)), ([0] * len(relevant), sorted(relevant))), shape=(1, item_count))
    hits = find_hits(np.array([listed], dtype=np.int32), matrix)
    counts = np.array([len(relevant)])
    head = listed[:k]
    found = [place for place, row in enumerate(head, start=1) if row in relevant]
    best = min(k, len(relevant))
    assert recall(hits, counts, k)[0] == pytest.approx(len(found) / best)
    assert ndcg(hits, counts, k)[0] == pytest.approx(
        sum(1 / math.log2(place + 1) for place in found) / sum(1 / math.log2(place + 1) for place in range(1, best + 1))
    )
    assert reciprocal_rank(hits, counts, k)[0] == pytest.approx(1 / found[0] if found else 0)
    assert average_precision(hits, counts, k)[0] == pytest.approx(
        sum(count / place for count, place in enumerate(found, start=1)) / best
    )
    assert hit_rate(hits, counts, k)[0] == bool(found)
