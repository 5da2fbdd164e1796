"""Trains a ranker."""

from __future__ import annotations

import math
import time

import keras
import numpy as np
from numpy.typing import NDArray

from training.config import RankerConfig, RankerTraining
from training.errors import RankerNotFinite
from training.progress import Report
from training.ranker.calibration import fit_calibration, fit_level
from training.ranker.examples import Examples
from training.ranker.families.content import ContentRanker
from training.ranker.families.registry import build_ranker
from training.ranker.first_guess import choose_first_guess
from training.ranker.item_inputs import ItemInputs, taste_actions
from training.ranker.lists import ListSampler
from training.ranker.losses import LOSSES
from training.ranker.probe import PROBE_K, mean_score, probe_order
from training.ranker.schedules import schedule_of
from training.ranker.scorer import RankerScorer
from training.ranker.step import RankerStep
from training.ranker.trained_ranker import TrainedRanker
from twostage.features.actions import ActionSchema

_PROBE_COUNT = 1500
_PROBE_SHARE = 0.1
_MOST_EPOCHS = 40


def fit_ranker(
    family: str,
    examples: Examples,
    items: ItemInputs,
    actions: ActionSchema,
    sizes: RankerConfig,
    config: RankerTraining,
    seed: int,
    report: Report,
) -> TrainedRanker:
    """Trains a ranker and keeps the epoch that ranks best for people it does not train on.

    Rankers of the same examples and seed train on the same people and are measured on the same others, whatever was
    trained before them.

    Args:
        family: One of training.ranker.families.registry.FAMILIES; the ranker's name too.
        examples: Candidates and what people did next.
        items: The items as of the examples' past.
        actions: The data set's actions.
        sizes: Sizes that families share.
        config: The profile's schedule, see training.ranker.schedules; losses and negatives.
        seed: Seeds weights and sampling.
        report: Told of each epoch.

    Raises:
        ValueError: There are no examples, the family cannot predict these actions, or there is no such family or loss.
        RankerNotFinite: A loss or a score became NaN or infinite.
    """
    started = time.monotonic()
    if config.loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {config.loss!r}")
    rng = np.random.default_rng(seed)
    learners, probe = split_people(examples, rng)
    keras.utils.set_random_seed(seed)
    model = build_ranker(family, sizes, actions, items.vectors.shape[1], items.features.shape[1])
    batch_size = min(config.batch_size, len(learners))
    per_pass = len(learners) // batch_size
    schedule = schedule_of(family)
    config, passes = schedule.apply(config, per_pass), schedule.passes(per_pass)
    epoch_count = config.max_epoch_count
    if len(probe):  # without people to measure on nothing says when to stop
        more = min(math.ceil(config.least_step_count / (per_pass * passes)), _MOST_EPOCHS)
        epoch_count = max(epoch_count, more)
    lists = ListSampler(examples, items.vectors, items.unseen, config)
    step = RankerStep(
        model,
        items,
        LOSSES[config.loss],
        config.learning_rate,
        per_pass * passes * epoch_count,
        config.positive_count,
        rng,
    )
    taste = [actions.names.index(name) for name in taste_actions(actions)] or list(range(len(actions.names)))
    retrieval_scores = probe_order(examples, probe, None, taste)
    scorer = RankerScorer(model, items)
    if isinstance(model, ContentRanker):
        _start_from_first_guess(model, scorer, examples, learners, report)
    else:
        fit_level(model, scorer, examples, learners)
    guess = _probe(family, 0, examples, probe, scorer, taste)
    report.note(f"NDCG@{PROBE_K}: retrieval order {_show(retrieval_scores)}, before training {_show(guess)}")
    trained_from, best, best_epoch, weights = time.monotonic(), mean_score(guess), 0, model.get_weights()
    epoch = 0
    for epoch in range(1, epoch_count + 1):
        order = np.concatenate([rng.permutation(learners)[: per_pass * batch_size] for _ in range(passes)])
        losses = []
        for position in report.steps(per_pass * passes, f"{family}, epoch {epoch}/{epoch_count}"):
            some = order[position * batch_size : (position + 1) * batch_size]
            losses.append(step(examples.requests, some, lists.sample(some, rng)))
        loss = float(np.mean(losses))
        if not math.isfinite(loss):
            raise RankerNotFinite(
                f"ranker {family}, epoch {epoch}: expected a finite loss, got {loss}; a lower learning rate than "
                f"{config.learning_rate:g} may help"
            )
        scorer.refresh()
        scores = _probe(family, epoch, examples, probe, scorer, taste)
        report.note(
            f"epoch {epoch}: loss {loss:.3f}, NDCG@{PROBE_K} {_show(scores)}, {time.monotonic() - trained_from:.0f} s"
        )
        score = mean_score(scores)
        if math.isnan(score) or score > best:
            best, best_epoch, weights = score, epoch, model.get_weights()
        elif epoch - best_epoch >= config.patience:
            break
    model.set_weights(weights)
    scorer.refresh()
    fit_calibration(model, scorer, examples, probe if len(probe) else np.arange(len(examples.requests)))
    trained = TrainedRanker(
        name=family,
        model=model,
        best_score=best,
        retrieval_score=mean_score(retrieval_scores),
        epoch_count=epoch,
        best_epoch=best_epoch,
        probe_count=len(probe),
        seconds=time.monotonic() - started,
        loss=config.loss,
        learning_rate=config.learning_rate,
    )
    trained.check_finite()
    for line in trained.notes():
        report.note(line)
    return trained


def split_people(examples: Examples, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whom to learn from and whom to measure on, int64 positions in the examples.

    Raises:
        ValueError: There is nobody to learn from.
    """
    count = len(examples.requests)
    if count == 0:
        raise ValueError("ranker: expected people with new items in the validation part, found none")
    people = rng.permutation(count)
    probe = people[: min(_PROBE_COUNT, int(count * _PROBE_SHARE))]
    learners = people[len(probe) :]
    learners = learners[np.diff(examples.learn_offsets)[learners] > 0]
    if len(learners) == 0:
        raise ValueError("ranker: expected people whose next items are among their candidates, found none")
    return learners, probe


def _start_from_first_guess(
    model: ContentRanker, scorer: RankerScorer, examples: Examples, learners: NDArray[np.int64], report: Report
) -> None:
    """Sets the first guess, as probabilities, or the first steps would go into pushing every score down."""
    first_guess = choose_first_guess(model, scorer, examples, learners)
    fit_calibration(model, scorer, examples, learners)
    model.absorb_calibration()
    report.note("first guess: " + "; ".join(f"{name} by {chosen}" for name, chosen in first_guess.items()))


def _show(scores: list[float]) -> str:
    return " ".join(f"{score:.4f}" for score in scores)


def _probe(
    family: str,
    epoch: int,
    examples: Examples,
    people: NDArray[np.int64],
    scorer: RankerScorer,
    columns: list[int],
) -> list[float]:
    """NDCG@10 of each action's score; see probe_order."""
    if not len(people):
        return probe_order(examples, people, None, columns)
    rows, scores = examples.candidates.rows[people], examples.candidates.scores[people]
    logits = scorer.logits(examples.requests, people, rows, scores)
    if not np.isfinite(logits[rows >= 0]).all():
        raise RankerNotFinite(f"ranker {family}, epoch {epoch}: expected finite scores, got NaN or infinite ones")
    return probe_order(examples, people, logits, columns)
