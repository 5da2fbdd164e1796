"""What each entry of a history does for a ranker's scores, by leaving it out."""

from __future__ import annotations

import tensorflow as tf

from training.ranker.families.ranker import Ranker, UserBatch
from twostage.features.history import HISTORY_LENGTH


def history_effects(model: Ranker, user: UserBatch, candidates: tf.Tensor, retrieval_scores: tf.Tensor) -> tf.Tensor:
    """How far the log odds of each action fall when an entry of the history is left out.

    The ranker runs once with the whole history and once without each entry, in one batch. All else stays as it was: the
    context with its count of entries, and the retrieval scores, although leaving an entry out would change the user
    vector too; what retrieval makes of it is told apart, by the tower's attention.

    Args:
        model: The ranker.
        user: The user side of one request.
        candidates: float32[n, C].
        retrieval_scores: float32[n].

    Returns:
        float32[n, 50, A], 0 where there is no entry.
    """
    entries = tf.where(user.mask[0] > 0)
    masks = user.mask * (1.0 - tf.one_hot(entries[:, 0], HISTORY_LENGTH, dtype=tf.float32))
    masks = tf.concat([user.mask, masks], axis=0)
    count = tf.shape(masks)[0]

    def repeated(tensor: tf.Tensor) -> tf.Tensor:
        return tf.repeat(tensor, count, axis=0)

    variants = UserBatch(
        repeated(user.features),
        masks,
        repeated(user.actions),
        repeated(user.values),
        repeated(user.ages_days),
        repeated(user.context),
    )
    logits = model.score(model.encode_user(variants), repeated(candidates[None]), repeated(retrieval_scores[None]))
    shape = tf.stack([HISTORY_LENGTH, tf.shape(candidates)[0], tf.shape(logits)[-1]])
    return tf.transpose(tf.scatter_nd(entries, logits[:1] - logits[1:], tf.cast(shape, tf.int64)), [1, 0, 2])
