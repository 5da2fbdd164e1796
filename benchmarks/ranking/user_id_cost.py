"""What it costs to know people by their history alone: ``python -m benchmarks.ranking.user_id_cost --data DIR``.

NeuMF's paper looks a person's embedding up by id; NeuMF here computes it from the history. Three rankers, alike but for
that embedding (by history, by id, and the sum of both), are trained alike, first on everything that people did, as in
the paper with four random negatives to each positive, then on candidates as every ranker here. All rank the same 500
candidates of the same people, everyone of whom was known in training. They are then asked as if the people were new.

Interactions are held out by checksum, a tenth of everyone's: of one held-out item per person little could be told.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from training import runtime
from training.config import RankerConfig
from training.data.dataset import Dataset, Interactions, SplitKind, SplitRule
from training.data.read import read_dataset
from training.evaluation.metrics import ndcg
from training.profiles import QUICK
from training.progress import Report, TerminalReport
from training.ranker.candidates import Requests, make_requests
from training.ranker.examples import Examples, make_examples
from training.ranker.families.layers import small_kernel
from training.ranker.families.neumf import NeuMF
from training.ranker.families.ranker import UserBatch, UserSide
from training.ranker.fit import split_people
from training.ranker.item_inputs import ItemInputs, make_item_inputs
from training.ranker.lists import ListSampler
from training.ranker.losses import LOSSES
from training.ranker.scorer import RankerScorer, user_arrays
from training.ranker.step import RankerStep
from training.train import TrainedModels, train
from twostage.features.actions import ActionSchema
from twostage.features.context import CONTEXT_SIZE

VARIANTS = ("history", "id", "history and id")
TOP_COUNT = 10
_NEGATIVE_COUNT = 4
_PAIR_COUNT = 256
_PRETRAIN_EPOCHS = 8
_FINE_TUNE_STEPS = 750
_STEPS_PER_MEASURE = 75


class NeuMFOfPeople(NeuMF):
    """NeuMF that may know people by id: a seventh column of the context holds 1 + the person, 0 for nobody known.

    Args:
        config: Sizes that families share.
        actions: The actions to predict.
        vector_size: Size of item vectors.
        feature_count: Number of statistics per item.
        person_count: How many people there are.
        variant: One of VARIANTS.
    """

    def __init__(
        self,
        config: RankerConfig,
        actions: ActionSchema,
        vector_size: int,
        feature_count: int,
        person_count: int,
        variant: str,
    ) -> None:
        super().__init__(config, actions, vector_size, feature_count)
        self.reads_history = "history" in variant
        self.reads_id = "id" in variant
        sizes = (self.sizes.embedding_size, self.sizes.item_embedding_size)
        self.by_id = [
            keras.layers.Embedding(1 + person_count, size, embeddings_initializer=small_kernel()) for size in sizes
        ]

    def encode_user(self, user: UserBatch, training: bool = False) -> UserSide:  # noqa: ARG002 - as the family's
        """The user side: p_G, and p_M through the first layer, each by what the variant knows a person by."""
        codes = tf.cast(user.context[:, CONTEXT_SIZE:], tf.int32)
        if codes.shape[1] == 0:
            codes = tf.zeros_like(user.actions[:, :1])
        person = self.read_person(replace(user, context=user.context[:, :CONTEXT_SIZE]))
        embeddings = []
        for of_history, of_id in zip((self.person_factors, self.person_part), self.by_id, strict=True):
            known = tf.cast(codes > 0, tf.float32)[:, :, None] * of_id(codes)
            embeddings.append(of_history(person.fields) * float(self.reads_history) + known * float(self.reads_id))
        first = self.first.biased("person", embeddings[1])
        return UserSide({**person.match, "factors_part": embeddings[0], "first": first})


def with_ids(examples: Examples) -> Examples:
    """The same examples, people's ids beside their contexts."""
    requests = examples.requests
    column = (1 + requests.users).astype(np.float32)[:, None]
    return replace(examples, requests=replace(requests, context=np.concatenate([requests.context, column], axis=1)))


def as_strangers(requests: Requests) -> Requests:
    """The same requests by people whom nobody knows; their histories are known."""
    context = requests.context.copy()
    context[:, CONTEXT_SIZE:] = 0
    return replace(requests, context=context)


def gains(examples: Examples, logits: NDArray[np.float32] | None, column: int) -> NDArray[np.float64]:
    """NDCG@10 of each person who did the action next; the retrieval order's when there are no logits."""
    hits, counts = [], []
    for person, rows in enumerate(examples.candidates.rows):
        part = slice(int(examples.next_offsets[person]), int(examples.next_offsets[person + 1]))
        relevant = examples.next_rows[part][examples.next_labels[part, column]]
        if len(relevant) == 0:
            continue
        order = rows
        if logits is not None:
            order = rows[np.argsort(np.where(rows < 0, np.inf, -logits[person, :, column]), kind="stable")]
        hits.append(np.isin(order[:TOP_COUNT], relevant))
        counts.append(len(relevant))
    return np.asarray(ndcg(np.array(hits), np.array(counts), TOP_COUNT))


def logits_of(model: NeuMF, items: ItemInputs, examples: Examples, requests: Requests) -> NDArray[np.float32]:
    """Logits of everyone's candidates."""
    everyone = np.arange(len(requests))
    return RankerScorer(model, items).logits(requests, everyone, examples.candidates.rows, examples.candidates.scores)


class PaperTraining:
    """Steps of the paper's training: what a person did against items drawn at random, the former out of the history.

    Neither nearness nor retrieval scores are shown, which were computed from these very interactions.

    Args:
        model: The ranker.
        items: The items.
        requests: Everyone, by position the same as in the data set.
        past: What they did.
        labels: float32[M, A], of what they did.
    """

    def __init__(
        self, model: NeuMF, items: ItemInputs, requests: Requests, past: Interactions, labels: NDArray[np.float32]
    ) -> None:
        self._model, self._requests, self._past, self._labels = model, requests, past, labels
        self._vectors, self._features = tf.constant(items.vectors), tf.constant(items.features)
        self._history = tf.constant(items.history_table)
        self._item_count = len(items)
        self._optimizer = keras.optimizers.Adam(1e-3)
        self._optimizer.build(model.trainable_variables)
        self._run = tf.function(self._step)

    def epoch(self, rng: np.random.Generator) -> None:
        """Passes once over everything that people did."""
        order = rng.permutation(len(self._past))
        for start in range(0, len(order) - _PAIR_COUNT + 1, _PAIR_COUNT):
            pairs = order[start : start + _PAIR_COUNT]
            people, targets = self._past.users[pairs], self._past.rows[pairs].astype(np.int32)
            drawn = rng.integers(0, self._item_count, (_PAIR_COUNT, _NEGATIVE_COUNT)).astype(np.int32)
            history, mask, *rest = user_arrays(self._requests, people)
            mask = mask * (history != targets[:, None])
            rows = np.concatenate([targets[:, None], drawn], axis=1)
            arrays = (rows, self._labels[pairs], history, mask.astype(np.float32), *rest)
            self._run(*map(tf.constant, arrays))

    def _step(self, rows: tf.Tensor, labels: tf.Tensor, history: tf.Tensor, *user: tf.Tensor) -> None:
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            flat = tf.reshape(rows, [-1])
            encoded = self._model.encode_items(tf.gather(self._vectors, flat), tf.gather(self._features, flat))
            encoded = tf.reshape(encoded, [-1, rows.shape[1], self._model.encoded_size])
            blank = tf.zeros([tf.shape(rows)[0], rows.shape[1], self._model.factor_width])
            side = self._model.encode_user(UserBatch(tf.gather(self._history, history), *user), training=True)
            scores = tf.zeros(tf.shape(rows))
            logits = self._model.score(side, tf.concat([encoded, blank], axis=-1), scores, training=True)
            nothing = tf.zeros([tf.shape(rows)[0], rows.shape[1] - 1, labels.shape[1]])
            answers = tf.concat([labels[:, None, :], nothing], axis=1)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=answers, logits=logits))
        self._optimizer.apply(tape.gradient(loss, variables), variables)


class Contest:
    """Trains the variants on one data set and measures them on what is held out.

    Args:
        dataset: The data set, split by checksum.
        report: Told of progress.
    """

    def __init__(self, dataset: Dataset, report: Report) -> None:
        self._report = report
        profile = QUICK.with_ranker_training(max_epoch_count=1, least_step_count=0)
        self._models: TrainedModels = train(dataset, profile, 0, report)
        models, split, actions = self._models, self._models.split, dataset.actions
        self._config = profile.config
        past, following = (dataset.interactions.take(part) for part in (split.train, split.validation))
        arguments = (actions, self._config.ranker_training.candidate_count, len(dataset.interactions.user_ids), 0)
        self._past = past
        self._examples = with_ids(make_examples(models.towers, past, following, *arguments))
        held_out = dataset.interactions.take(split.test)
        self.held_out = with_ids(make_examples(models.towers, models.past, held_out, *arguments))
        size = self._config.ranker.factor_size
        self._before = make_item_inputs(
            models.towers.item_vectors, past, actions, size, 0, models.items.standardisation
        )

    def run(self, variant: str, seed: int) -> dict[str, NDArray[np.float32]]:
        """Trains a variant and answers its logits of the held-out candidates: of people as known and as strangers."""
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        actions, items = self._models.dataset.actions, self._before
        person_count = len(self._past.user_ids)
        model = NeuMFOfPeople(
            self._config.ranker, actions, items.vectors.shape[1], items.features.shape[1], person_count, variant
        )
        model.build_parts()
        learners, probe = split_people(self._examples, np.random.default_rng(0))
        epochs = self._pretrain(model, rng)
        steps = self._fine_tune(model, learners, probe, rng)
        self._report.note(f"{variant}, seed {seed}: kept epoch {epochs} of the paper's training, step {steps} after it")
        requests = self.held_out.requests
        return {
            "known": logits_of(model, self._models.items, self.held_out, requests),
            "strangers": logits_of(model, self._models.items, self.held_out, as_strangers(requests)),
        }

    def _score(self, model: NeuMF, people: NDArray[np.int64]) -> float:
        """Mean NDCG@10 over the actions, on what some people did in the validation part."""
        logits = logits_of(model, self._before, self._examples, self._examples.requests)
        chosen = np.zeros(len(logits), np.bool_)
        chosen[people] = True
        of_some = replace(
            self._examples,
            next_labels=self._examples.next_labels & np.repeat(chosen, np.diff(self._examples.next_offsets))[:, None],
        )
        return float(np.mean([gains(of_some, logits, column).mean() for column in range(logits.shape[2])]))

    def _pretrain(self, model: NeuMF, rng: np.random.Generator) -> int:
        actions, past = self._models.dataset.actions, self._past
        labels = [actions.label(name, past.recorded, past.actions, past.values) for name in actions.names]
        requests = self._everyone()
        training = PaperTraining(model, self._before, requests, past, np.stack(labels, axis=1).astype(np.float32))
        everyone = np.arange(len(self._examples.requests))
        best, best_epoch, weights = -1.0, 0, model.get_weights()
        for epoch in range(1, _PRETRAIN_EPOCHS + 1):
            training.epoch(rng)
            score = self._score(model, everyone)
            if score > best:
                best, best_epoch, weights = score, epoch, model.get_weights()
        model.set_weights(weights)
        return best_epoch

    def _everyone(self) -> Requests:
        """Requests of all people of the data set, in its order, from what they did before validation."""
        everyone = np.arange(len(self._past.user_ids))
        made = make_requests_of(self._models, self._past, everyone)
        column = (1 + made.users).astype(np.float32)[:, None]
        return replace(made, context=np.concatenate([made.context, column], axis=1))

    def _fine_tune(
        self, model: NeuMF, learners: NDArray[np.int64], probe: NDArray[np.int64], rng: np.random.Generator
    ) -> int:
        config = self._config.ranker_training
        lists = ListSampler(self._examples, self._before.vectors, self._before.unseen, config)
        step = RankerStep(model, self._before, LOSSES[config.loss], 1e-3, _FINE_TUNE_STEPS, config.positive_count, rng)
        best, best_step, weights = self._score(model, probe), 0, model.get_weights()
        size = min(config.batch_size, len(learners))
        for position in range(1, _FINE_TUNE_STEPS + 1):
            some = rng.choice(learners, size, replace=False)
            step(self._examples.requests, some, lists.sample(some, rng))
            if position % _STEPS_PER_MEASURE == 0:
                score = self._score(model, probe)
                if score > best:
                    best, best_step, weights = score, position, model.get_weights()
        model.set_weights(weights)
        return best_step


def make_requests_of(models: TrainedModels, past: Interactions, people: NDArray[np.int64]) -> Requests:
    """Requests at the end of a past."""
    now = None if past.times is None else np.full(len(people), past.times.max())
    return make_requests(models.towers, past, people, models.dataset.actions, now)


@click.command()
@click.option("--data", "data_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--seeds", "seed_count", default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table as Markdown.")
def main(data_path: Path, seed_count: int, out: Path | None) -> None:
    """Trains and measures the three variants."""
    runtime.make_deterministic(0)
    console = Console(width=160)
    dataset = replace(read_dataset(data_path), split_rule=SplitRule(SplitKind.HASHED))
    contest = Contest(dataset, TerminalReport(Console(stderr=True)))
    names = dataset.actions.names
    columns = ["person known by", *(f"{name}, {who}" for who in ("known", "strangers") for name in names)]
    columns += [f"{name}, known, against history" for name in names]
    measured = {variant: [contest.run(variant, seed) for seed in range(seed_count)] for variant in VARIANTS}
    rows = [["retrieval order", *(f"{gains(contest.held_out, None, c).mean():.4f}" for c in range(len(names)))]]
    rows[0] += [""] * (len(columns) - len(rows[0]))
    base = [_mean_gains(contest.held_out, measured["history"], "known", column) for column in range(len(names))]
    for variant in VARIANTS:
        row = [variant]
        row += [
            f"{_mean_gains(contest.held_out, measured[variant], who, column).mean():.4f}"
            for who in ("known", "strangers")
            for column in range(len(names))
        ]
        for column in range(len(names)):
            difference = _mean_gains(contest.held_out, measured[variant], "known", column) - base[column]
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            row.append(f"{difference.mean():+.4f} ± {error:.4f}")
        rows.append(row)
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    console.print(f"NDCG@{TOP_COUNT} of {len(contest.held_out.requests):,} people, mean of {seed_count} seeds")
    console.print(table)
    if out:
        lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *(f"| {' | '.join(r)} |" for r in rows)]
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mean_gains(
    examples: Examples, runs: list[dict[str, NDArray[np.float32]]], who: str, column: int
) -> NDArray[np.float64]:
    """Each person's NDCG@10, the mean over seeds."""
    return np.asarray(np.mean([gains(examples, run[who], column) for run in runs], axis=0))


if __name__ == "__main__":
    main()
