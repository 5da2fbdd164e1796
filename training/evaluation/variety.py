"""What accuracy does not see: how much of the catalogue is shown, how obscure and how varied the lists are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array


def catalogue_coverage(ranked: NDArray[np.int32], item_count: int, k: int) -> float:
    """Coverage@k = |items in anybody's first k| / |catalogue|.

    Herlocker et al., Evaluating collaborative filtering recommender systems, ACM TOIS 22(1), 2004 (catalogue
    coverage). It grows with the number of people asked, so compare models on the same people.

    Args:
        ranked: int32[U, K], rows best first, -1 for padding.
        item_count: N, the size of the catalogue.
        k: Length of the list that counts.

    Returns:
        A share in [0, 1].
    """
    head = ranked[:, :k]
    return len(np.unique(head[head >= 0])) / item_count


def novelty(
    ranked: NDArray[np.int32], training_counts: NDArray[np.integer], training_user_count: int, k: int
) -> NDArray[np.float64]:
    """Novelty@k = mean over the list of the self-information -log2 p(item), p(item) = people who had it / people.

    Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems, PNAS 107(10), 2010. An item
    that nobody had in training counts as one that a single person had.

    Args:
        ranked: int32[U, K], rows best first, -1 for padding.
        training_counts: int[N], how many people had each item in training.
        training_user_count: How many people had any.
        k: Length of the list that counts.

    Returns:
        float64[U] in bits, NaN for an empty list.
    """
    bits = -np.log2(np.maximum(training_counts, 1) / max(training_user_count, 1))
    head = ranked[:, :k]
    shown = head >= 0
    lengths = shown.sum(axis=1)
    total = np.where(shown, bits[np.maximum(head, 0)], 0.0).sum(axis=1)
    return np.where(lengths > 0, total / np.maximum(lengths, 1), np.nan)


def intra_list_diversity(
    ranked: NDArray[np.int32], item_vectors: NDArray[np.floating] | csr_array, k: int
) -> NDArray[np.float64]:
    """ILD@k = 1 - mean cosine similarity over all pairs of different items of the list.

    Ziegler et al., Improving recommendation lists through topic diversification, WWW 2005; computed from
    Σ_{i≠j} vᵢ·vⱼ = |Σᵢ vᵢ|² - Σᵢ |vᵢ|² on unit vectors. An item with a zero vector resembles nothing.

    Args:
        ranked: int32[U, K], rows best first, -1 for padding.
        item_vectors: [N, D], dense or CSR, of any length.
        k: Length of the list that counts.

    Returns:
        float64[U], 0 for copies of one item, 1 for unrelated ones; NaN for lists of fewer than two items.
    """
    vectors = csr_array(item_vectors, dtype=np.float64)
    lengths = np.sqrt(vectors.multiply(vectors).sum(axis=1))
    unit = diags_array(1.0 / np.where(lengths > 0, lengths, 1.0)).tocsr() @ vectors
    head = ranked[:, :k]
    shown = head >= 0
    counts = shown.sum(axis=1)
    membership = csr_array(
        (np.ones(counts.sum()), (np.nonzero(shown)[0], head[shown])), shape=(len(head), vectors.shape[0])
    )
    sums = membership @ unit
    # A list of fewer than two items divides by at least one here and is NaN below.
    similar = sums.multiply(sums).sum(axis=1) - membership @ (lengths > 0).astype(np.float64)
    pairs = np.maximum(counts * (counts - 1), 1)
    return np.where(counts > 1, 1.0 - similar / pairs, np.nan)
