"""Trains the ranker."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import RankerConfig, RankerTraining
from training.progress import Report
from training.ranker.calibration import fit_calibration
from training.ranker.candidates import Requests
from training.ranker.examples import Examples, SampledLists, sample_lists
from training.ranker.first_guess import choose_first_guess
from training.ranker.item_inputs import ItemInputs, as_if_new, taste_actions
from training.ranker.model import RankerModel, UserBatch, build_ranker
from training.ranker.probe import PROBE_K, mean_score, probe_order
from training.ranker.scorer import RankerScorer, user_arrays
from twostage.features.actions import ActionSchema

_PROBE_COUNT = 1500
_PROBE_SHARE = 0.1
_PRETENDED_COUNT = 5000
_MOST_EPOCHS = 40
_PRETENDED_SHARE = 0.5


@dataclass(frozen=True)
class TrainedRanker:
    """A trained ranker.

    Args:
        model: The ranker, calibrated.
        best_score: Its mean NDCG@10 over taste actions on people it did not train on; NaN when there were none.
        retrieval_score: The same measure of the retrieval order.
        epoch_count: Epochs trained.
        best_epoch: The epoch that was kept; 0 when that is the untrained first guess.
        probe_count: How many people the measures are of; the fewer, the more they owe to chance.
    """

    model: RankerModel
    best_score: float
    retrieval_score: float
    epoch_count: int
    best_epoch: int
    probe_count: int

    def notes(self) -> list[str]:
        """What was kept, and a warning when no ranker would have done better; a line each."""
        if math.isnan(self.best_score):
            return [f"kept epoch {self.best_epoch}, the last: too few people to measure any on"]
        lines = [f"kept epoch {self.best_epoch}"]
        if self.best_epoch == 0:
            lines = ["kept epoch 0: training did not improve on the first guess, which is published as it is"]
        if self.best_score < self.retrieval_score:
            lines.append(
                f"warning: on {self.probe_count:,} people the ranker orders candidates worse than retrieval does: "
                f"NDCG@{PROBE_K} {self.best_score:.4f} against {self.retrieval_score:.4f}"
            )
        return lines


class _RankerStep:
    """One optimiser step, compiled once."""

    def __init__(
        self,
        model: RankerModel,
        items: ItemInputs,
        config: RankerTraining,
        step_count: int,
        rng: np.random.Generator,
    ) -> None:
        self._model = model
        self._vectors, self._features = tf.constant(items.vectors), tf.constant(items.features)
        self._factors = tf.constant(items.factors.reshape(len(items), -1))
        # A few items are now and then shown as if they were new, or the ranker would never learn what to make of those.
        pretended = np.flatnonzero(~items.unseen)
        pretended = rng.permutation(pretended)[: min(_PRETENDED_COUNT, len(pretended) // 5)]
        as_new = items.factors.copy()
        as_new[pretended] = as_if_new(items, pretended)
        may_pretend = np.zeros((len(items), 1), np.float32)
        may_pretend[pretended] = _PRETENDED_SHARE
        self._as_new = tf.constant(as_new.reshape(len(items), -1))
        self._may_pretend = tf.constant(may_pretend)
        self._history = tf.constant(items.history_table)
        self._listwise_weight = config.listwise_weight
        weights = [action.weight for action in model.action_schema.actions]
        self._blended = tf.constant([float(weight > 0) for weight in weights] if any(weights) else [1.0] * len(weights))
        schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, max(step_count, 1), alpha=0.05)
        self._optimizer = keras.optimizers.AdamW(schedule, weight_decay=1e-4, global_clipnorm=5.0)
        self._optimizer.build(model.trainable_variables)
        self._run = tf.function(self._step)

    def __call__(self, requests: Requests, people: NDArray[np.int64], lists: SampledLists) -> tf.Tensor:
        """Runs a step and returns its loss."""
        # Each distinct item passes the item tower once; padding keeps the shape, and so the trace, the same.
        limit = min(lists.rows.size, len(self._vectors))
        unique, positions = np.unique(lists.rows, return_inverse=True)
        unique = np.concatenate([unique, np.zeros(limit - len(unique), unique.dtype)]).astype(np.int32)
        arrays = (
            unique,
            positions.reshape(lists.rows.shape).astype(np.int32),
            lists.scores,
            lists.labels,
            lists.weights,
            *user_arrays(requests, people),
        )
        return self._run(*map(tf.constant, arrays))

    def _step(
        self,
        unique: tf.Tensor,
        positions: tf.Tensor,
        scores: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        history: tf.Tensor,
        *user: tf.Tensor,
    ) -> tf.Tensor:
        batch = UserBatch(tf.gather(self._history, history), *user)
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            chance = tf.gather(self._may_pretend, unique)
            new = tf.cast(tf.random.uniform(tf.shape(chance)) < chance, tf.float32)
            features = tf.gather(self._features, unique) * (1 - new)
            factors = tf.gather(self._factors, unique) * (1 - new) + tf.gather(self._as_new, unique) * new
            encoded = self._model.encode_items(tf.gather(self._vectors, unique), features)
            candidates = tf.concat([tf.gather(encoded, positions), tf.gather(factors, positions)], axis=-1)
            side = self._model.encode_user(batch, training=True)
            logits = self._model.score(side, candidates, scores, training=True)
            loss = _loss(logits, labels, weights, self._blended, self._listwise_weight)
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss


def _loss(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, blended: tf.Tensor, listwise_weight: float
) -> tf.Tensor:
    """Binary cross-entropy over the list, and a softmax per action that people are ranked by."""
    present = tf.cast(weights > 0, tf.float32)[:, :, None]
    binary = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits) * weights[:, :, None]
    # Per positive, which makes it of the same size as the softmax.
    binary = tf.reduce_sum(binary) / tf.maximum(tf.reduce_sum(labels), 1.0)
    masked = tf.where(present > 0, logits + tf.math.log(tf.maximum(weights, 1e-6))[:, :, None], -1e9)
    shares = tf.nn.log_softmax(masked, axis=1)
    counts = tf.reduce_sum(labels, axis=1)
    listwise = -tf.reduce_sum(labels * tf.maximum(shares, -50.0), axis=1) / tf.maximum(counts, 1.0)
    some = tf.cast(counts > 0, tf.float32) * blended
    listwise = tf.reduce_sum(listwise * some) / tf.maximum(tf.reduce_sum(some), 1.0)
    return binary + listwise_weight * listwise


def fit_ranker(
    examples: Examples,
    items: ItemInputs,
    actions: ActionSchema,
    sizes: RankerConfig,
    config: RankerTraining,
    seed: int,
    report: Report,
) -> TrainedRanker:
    """Trains the ranker and keeps the epoch that ranks best for people it does not train on.

    Args:
        examples: Candidates and what people did next.
        items: The items as of the examples' past.
        actions: The data set's actions.
        sizes: The ranker's sizes.
        config: The schedule.
        seed: Seeds sampling.
        report: Told of each epoch.

    Raises:
        ValueError: There are no examples.
    """
    count = len(examples.requests)
    if count == 0:
        raise ValueError("ranker: expected people with new items in the validation part, found none")
    rng = np.random.default_rng(seed)
    people = rng.permutation(count)
    probe = people[: min(_PROBE_COUNT, int(count * _PROBE_SHARE))]
    learners = people[len(probe) :]
    learners = learners[np.diff(examples.learn_offsets)[learners] > 0]
    if len(learners) == 0:
        raise ValueError("ranker: expected people whose next items are among their candidates, found none")
    model = build_ranker(sizes, actions, items.vectors.shape[1], items.features.shape[1])
    batch_size = min(config.batch_size, len(learners))
    per_epoch = len(learners) // batch_size
    epoch_count = config.max_epoch_count
    if len(probe):  # without people to measure on nothing says when to stop
        more = min(math.ceil(config.least_step_count / per_epoch), _MOST_EPOCHS)
        epoch_count = max(epoch_count, more)
    step = _RankerStep(model, items, config, per_epoch * epoch_count, rng)
    taste = [actions.names.index(name) for name in taste_actions(actions)] or list(range(len(actions.names)))
    retrieval_scores = probe_order(examples, probe, None, taste)
    scorer = RankerScorer(model, items)
    first_guess = choose_first_guess(model, scorer, examples, learners)
    # The first guess as probabilities, or the first steps would go into pushing every score down.
    fit_calibration(model, scorer, examples, learners)
    model.absorb_calibration()
    guess = _probe(examples, probe, scorer, taste)
    report.note("first guess: " + "; ".join(f"{name} by {chosen}" for name, chosen in first_guess.items()))
    report.note(f"NDCG@{PROBE_K}: retrieval order {_show(retrieval_scores)}, before training {_show(guess)}")
    started, best, best_epoch, weights = time.monotonic(), mean_score(guess), 0, model.get_weights()
    epoch = 0
    for epoch in range(1, epoch_count + 1):
        order = rng.permutation(learners)
        losses = []
        for position in report.steps(per_epoch, f"ranker, epoch {epoch}/{epoch_count}"):
            some = order[position * batch_size : (position + 1) * batch_size]
            losses.append(
                step(examples.requests, some, sample_lists(examples, some, items.vectors, items.unseen, config, rng))
            )
        scores = _probe(examples, probe, RankerScorer(model, items), taste)
        report.note(
            f"epoch {epoch}: loss {np.mean(losses):.3f}, NDCG@{PROBE_K} {_show(scores)}, "
            f"{time.monotonic() - started:.0f} s"
        )
        score = mean_score(scores)
        if math.isnan(score) or score > best:
            best, best_epoch, weights = score, epoch, model.get_weights()
        elif epoch - best_epoch >= config.patience:
            break
    model.set_weights(weights)
    fit_calibration(model, RankerScorer(model, items), examples, probe if len(probe) else people)
    trained = TrainedRanker(model, best, mean_score(retrieval_scores), epoch, best_epoch, len(probe))
    for line in trained.notes():
        report.note(line)
    return trained


def _show(scores: list[float]) -> str:
    return " ".join(f"{score:.4f}" for score in scores)


def _probe(examples: Examples, people: NDArray[np.int64], scorer: RankerScorer, columns: list[int]) -> list[float]:
    """NDCG@10 of each action's score; see probe_order."""
    if not len(people):
        return probe_order(examples, people, None, columns)
    rows, scores = examples.candidates.rows[people], examples.candidates.scores[people]
    return probe_order(examples, people, scorer.logits(examples.requests, people, rows, scores), columns)
