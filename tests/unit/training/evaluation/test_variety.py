from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from training.evaluation.variety import catalogue_coverage, intra_list_diversity, novelty


def test_coverage_counts_each_shown_item_once_and_no_padding() -> None:
    ranked = np.array([[0, 1, 5], [1, 0, 5], [1, -1, -1]], dtype=np.int32)
    assert catalogue_coverage(ranked, 10, 2) == pytest.approx(0.2)
    assert catalogue_coverage(ranked, 10, 3) == pytest.approx(0.3)


def test_novelty_is_the_mean_self_information_in_bits() -> None:
    # Half of 8 people: 1 bit; one of 8: 3 bits; nobody counts as one.
    counts = np.array([4, 1, 0])
    ranked = np.array([[0, 1, 2], [0, -1, -1], [-1, -1, -1]], dtype=np.int32)
    values = novelty(ranked, counts, 8, 3)
    assert values[:2].tolist() == pytest.approx([(1 + 3 + 3) / 3, 1])
    assert np.isnan(values[2])


@pytest.mark.parametrize("sparse", [False, True])
def test_diversity_is_one_less_the_mean_cosine_of_all_pairs(*, sparse: bool) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(9, 4))
    vectors[4] = 0
    ranked = np.array([[0, 1, 2, 3], [5, 4, 6, -1], [7, -1, -1, -1]], dtype=np.int32)
    expected = []
    for row in ranked[:2]:
        shown = [item for item in row if item >= 0]
        cosines = []
        for place, one in enumerate(shown):
            for other in shown[:place]:
                lengths = np.linalg.norm(vectors[one]) * np.linalg.norm(vectors[other])
                cosines.append(vectors[one] @ vectors[other] / lengths if lengths else 0.0)
        expected.append(1 - np.mean(cosines))
    values = intra_list_diversity(ranked, csr_array(vectors) if sparse else vectors, 4)
    assert values[:2].tolist() == pytest.approx(expected)
    assert np.isnan(values[2])


def test_copies_of_one_item_have_no_diversity() -> None:
    vectors = np.array([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    ranked = np.array([[0, 1], [0, 2]], dtype=np.int32)
    assert intra_list_diversity(ranked, vectors, 2).tolist() == pytest.approx([0, 1])
