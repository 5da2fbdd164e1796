"""What a ranker is taught by: losses over lists of candidates, for one action each or for all of them together.

All take logits float32[B, n, A], labels float32[B, n, A] of 0 and 1, and weights float32[B, n]: how many items of the
whole list an entry stands for, 0 for padding. Negatives are sampled, so an entry that stands for w items counts w times
wherever a loss sums over items.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

_LEAST_WEIGHT = 1e-6
_LEAST_SHARE = -50.0
_ABSENT = -1e9


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts, 0 or more; at least one above 0.

    Args:
        pointwise: Of :func:`pointwise_loss`, which alone makes probabilities of logits.
        pairwise: Of :func:`pairwise_loss`.
        listwise: Of :func:`listwise_loss`.
    """

    pointwise: float = 0.0
    pairwise: float = 0.0
    listwise: float = 0.0

    def __post_init__(self) -> None:
        """Checks the weights.

        Raises:
            ValueError: One is negative or no number, or all are 0.
        """
        weights = (self.pointwise, self.pairwise, self.listwise)
        if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
            raise ValueError(f"losses: expected weights of 0 or more, one of them above 0, got {weights}")


LOSSES = {
    "pointwise": LossWeights(pointwise=1.0),
    "pairwise": LossWeights(pairwise=1.0),
    "listwise": LossWeights(listwise=1.0),
    "mixed": LossWeights(pointwise=1.0, listwise=1.0),
}
"""Losses by name; ``mixed``, the default, learns how likely and which first at once."""


def ranker_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    ranked: tf.Tensor,
    losses: LossWeights,
    positive_count: int | None = None,
) -> tf.Tensor:
    """The weighted sum of the losses.

    Args:
        logits: float32[B, n, A].
        labels: float32[B, n, A], 0 or 1.
        weights: float32[B, n].
        ranked: float32[A], 1 for the actions that lists are put in order by. Without a pointwise loss nothing else
            would teach the others, so all count then.
        losses: How much each loss counts.
        positive_count: As in :func:`pairwise_loss`.

    Returns:
        A scalar.
    """
    if not losses.pointwise:
        ranked = tf.ones_like(ranked)
    total = tf.constant(0.0)
    if losses.pointwise:
        total += losses.pointwise * pointwise_loss(logits, labels, weights)
    if losses.pairwise:
        total += losses.pairwise * pairwise_loss(logits, labels, weights, ranked, positive_count)
    if losses.listwise:
        total += losses.listwise * listwise_loss(logits, labels, weights, ranked)
    return total


def pointwise_loss(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, -Σ w [y ln p + (1 - y) ln(1 - p)] / Σ w y with p = 1 / (1 + exp -x).

    As He et al., *Neural Collaborative Filtering*, WWW 2017, equation 7, and most click models use it. Divided by the
    positives, which makes it of the size of a softmax over the list.

    Args:
        logits: float32[B, n, A], x.
        labels: float32[B, n, A], y.
        weights: float32[B, n], w.
    """
    weights = weights[:, :, None]
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits) * weights
    return tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(labels * weights), 1.0)


def pairwise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    ranked: tf.Tensor,
    positive_count: int | None = None,
) -> tf.Tensor:
    """Bayesian personalised ranking, ln(1 + exp(x_j - x_i)) over pairs of what was done, i, and what was not, j.

    Rendle et al., *BPR: Bayesian Personalized Ranking from Implicit Feedback*, UAI 2009, section 4.1, there one pair at
    a time; here the mean over all pairs of a list, a pair counting w_i w_j, and then over lists and actions that have
    any pair.

    Args:
        logits: float32[B, n, A].
        labels: float32[B, n, A].
        weights: float32[B, n].
        ranked: float32[A], 1 for the actions that count.
        positive_count: Only the first so many entries may be positive, which spares the other pairs; None for all.
    """
    first = slice(positive_count)
    done = (labels * weights[:, :, None])[:, first, :]
    undone = (1.0 - labels) * weights[:, :, None]
    # By person, done item, undone item, action.
    losses = tf.nn.softplus(logits[:, None, :, :] - logits[:, first, None, :])
    totals = tf.einsum("bia,bja,bija->ba", done, undone, losses)
    pairs = tf.reduce_sum(done, axis=1) * tf.reduce_sum(undone, axis=1)
    some = tf.cast(pairs > 0, tf.float32) * ranked
    means = totals / tf.where(pairs > 0, pairs, tf.ones_like(pairs))
    return tf.reduce_sum(means * some) / tf.maximum(tf.reduce_sum(some), 1.0)


def listwise_loss(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, ranked: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy, -Σ y ln p / Σ y with p_i = w_i exp x_i / Σ_j w_j exp x_j, mean over lists with a positive.

    Cao et al., *Learning to Rank: From Pairwise Approach to Listwise Approach*, ICML 2007, section 4, with the top-one
    probabilities of 0/1 labels. ln w in the exponent corrects for sampling: Bengio and Senécal, *Adaptive Importance
    Sampling to Accelerate Training of a Neural Probabilistic Language Model*, 2008.

    Args:
        logits: float32[B, n, A].
        labels: float32[B, n, A].
        weights: float32[B, n].
        ranked: float32[A], 1 for the actions that count.
    """
    present = (weights > 0)[:, :, None]
    labels = tf.where(present, labels, tf.zeros_like(labels))
    masked = tf.where(present, logits + tf.math.log(tf.maximum(weights, _LEAST_WEIGHT))[:, :, None], _ABSENT)
    shares = tf.nn.log_softmax(masked, axis=1)
    counts = tf.reduce_sum(labels, axis=1)
    # One item that is hopeless at first must not outweigh a batch.
    losses = -tf.reduce_sum(labels * tf.maximum(shares, _LEAST_SHARE), axis=1) / tf.maximum(counts, 1.0)
    some = tf.cast(counts > 0, tf.float32) * ranked
    return tf.reduce_sum(losses * some) / tf.maximum(tf.reduce_sum(some), 1.0)
