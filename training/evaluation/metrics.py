"""Accuracy of ranked lists, one value per person.

Every function takes ``hits`` (bool[U, K], which places of the ranked lists hold a relevant item) and returns
float64[U], NaN for a person without relevant items. Rankings cover the whole catalogue: metrics on sampled negatives
can order models wrongly (Krichene and Rendle, On Sampled Metrics for Item Recommendation, KDD 2020).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def find_hits(ranked: NDArray[np.int32], relevant: csr_array) -> NDArray[np.bool_]:
    """Marks the places of ranked lists that hold a relevant item.

    Args:
        ranked: int32[U, K], rows best first, -1 for padding.
        relevant: CSR [U, N]; stored entries are relevant, whatever their value.

    Returns:
        bool[U, K]; padding is never a hit.

    Raises:
        ValueError: The two have different numbers of people.
    """
    user_count, item_count = relevant.shape
    if len(ranked) != user_count:
        raise ValueError(f"ranked: expected {user_count} lists, one per row of relevant, got {len(ranked)}")
    owners = np.repeat(np.arange(user_count, dtype=np.int64), np.diff(relevant.indptr))
    wanted = np.sort(owners * item_count + relevant.indices)
    asked = np.arange(user_count, dtype=np.int64)[:, None] * item_count + ranked
    if not len(wanted):
        return np.zeros(ranked.shape, dtype=np.bool_)
    found: NDArray[np.bool_] = wanted[np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)] == asked
    return found & (ranked >= 0)


def recall(hits: NDArray[np.bool_], relevant_counts: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Recall@k = |hits among the first k| / min(k, |relevant|).

    Dividing by min(k, |relevant|) lets a perfect list reach 1 whatever k is, as in Liang et al., Variational
    Autoencoders for Collaborative Filtering, WWW 2018, section 4.2.

    Args:
        hits: bool[U, K] with K ≥ k.
        relevant_counts: int[U], how many relevant items each person has.
        k: Length of the list that counts.

    Returns:
        float64[U] in [0, 1].
    """
    return _defined(_first(hits, k).sum(axis=1) / np.clip(relevant_counts, 1, k), relevant_counts)


def ndcg(hits: NDArray[np.bool_], relevant_counts: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """NDCG@k = DCG@k / IDCG@k, DCG@k = Σ_{i≤k} hit_i / log2(i + 1), IDCG@k = Σ_{i≤min(k, |relevant|)} 1 / log2(i + 1).

    Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002, with binary gains
    and the discount log2(i + 1).

    Args:
        hits: bool[U, K] with K ≥ k.
        relevant_counts: int[U], how many relevant items each person has.
        k: Length of the list that counts.

    Returns:
        float64[U] in [0, 1].
    """
    discounts: NDArray[np.float64] = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.clip(relevant_counts, 1, k) - 1]
    gains: NDArray[np.float64] = _first(hits, k) @ discounts
    return _defined(gains / ideal, relevant_counts)


def reciprocal_rank(hits: NDArray[np.bool_], relevant_counts: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """RR@k = 1 / place of the first hit, 0 when there is none among the first k; its mean is MRR@k.

    Voorhees, The TREC-8 Question Answering Track Report, 1999.

    Args:
        hits: bool[U, K] with K ≥ k.
        relevant_counts: int[U], how many relevant items each person has.
        k: Length of the list that counts.

    Returns:
        float64[U] in [0, 1].
    """
    head = _first(hits, k)
    return _defined(np.where(head.any(axis=1), 1.0 / (head.argmax(axis=1) + 1), 0.0), relevant_counts)


def average_precision(hits: NDArray[np.bool_], relevant_counts: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """AP@k = Σ_{i≤k} hit_i · precision@i / min(k, |relevant|); its mean is MAP@k.

    Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 8.4, cut at k.

    Args:
        hits: bool[U, K] with K ≥ k.
        relevant_counts: int[U], how many relevant items each person has.
        k: Length of the list that counts.

    Returns:
        float64[U] in [0, 1].
    """
    head = _first(hits, k)
    precision = np.cumsum(head, axis=1) / np.arange(1, k + 1)
    return _defined((precision * head).sum(axis=1) / np.clip(relevant_counts, 1, k), relevant_counts)


def hit_rate(hits: NDArray[np.bool_], relevant_counts: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """HR@k = 1 when the first k places hold at least one hit, else 0.

    Deshpande and Karypis, Item-based top-N recommendation algorithms, ACM TOIS 22(1), 2004.

    Args:
        hits: bool[U, K] with K ≥ k.
        relevant_counts: int[U], how many relevant items each person has.
        k: Length of the list that counts.

    Returns:
        float64[U] of 0 and 1.
    """
    return _defined(np.any(_first(hits, k), axis=1).astype(np.float64), relevant_counts)


def _first(hits: NDArray[np.bool_], k: int) -> NDArray[np.bool_]:
    if not 1 <= k <= hits.shape[1]:
        raise ValueError(f"k: expected 1 to {hits.shape[1]} (the lists' length), got {k}")
    return hits[:, :k]


def _defined(values: NDArray[np.float64], relevant_counts: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.where(relevant_counts > 0, values, np.nan)
