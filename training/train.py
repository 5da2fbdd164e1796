"""Trains everything a generation holds, in memory: encoder, towers, item vectors, ranker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training import runtime
from training.data.dataset import Dataset, Exposures, Interactions, Split, SplitKind
from training.data.split import split as split_dataset
from training.errors import NothingToLearn
from training.features.content import encode_catalogue
from training.features.histories import taste_of
from training.profiles import Profile
from training.progress import Report, Silent
from training.ranker.examples import Examples, make_examples
from training.ranker.fit import fit_ranker
from training.ranker.item_inputs import ItemInputs, make_item_inputs
from training.ranker.names import DEFAULT_RANKERS, suitable_rankers
from training.ranker.trained_ranker import TrainedRanker
from training.towers.fit import Towers, fit_towers
from twostage.features.item_encoding import EncodedItems


@dataclass(frozen=True)
class TrainedModels:
    """Everything trained on a data set.

    Args:
        dataset: What it was trained on.
        split: How that was split; neither stage has seen the test part.
        profile: The profile.
        seed: The seed.
        content: Every item's content, encoded.
        towers: The retrieval towers and the item vectors, from the training part.
        rankers: The rankers by name, the default one first, all from the same candidates for the training part labelled
            by the validation part.
        items: The items as the ranker reads them, as of the end of training and validation.
        learnable: bool[M], the interactions that may be known when recommending: all but the test part.
        seconds: Wall time by stage.
    """

    dataset: Dataset
    split: Split
    profile: Profile
    seed: int
    content: EncodedItems
    towers: Towers
    rankers: dict[str, TrainedRanker]
    items: ItemInputs
    learnable: NDArray[np.bool_]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ranker(self) -> TrainedRanker:
        """The default ranker."""
        return next(iter(self.rankers.values()))

    @property
    def past(self) -> Interactions:
        """The interactions that may be known when recommending."""
        return self.dataset.interactions.take(self.learnable)


def train(
    dataset: Dataset,
    profile: Profile,
    seed: int = 0,
    report: Report | None = None,
    learnable: NDArray[np.bool_] | None = None,
    rankers: Sequence[str] = DEFAULT_RANKERS,
) -> TrainedModels:
    """Trains both stages.

    The same data set, profile and seed give the same models on the same machine, as long as the profile has no
    limit of time.

    Args:
        dataset: The data set.
        profile: Sizes and schedules.
        seed: Seeds everything.
        report: Told of progress; nothing is told when None.
        learnable: bool[M], what may be learnt from, for a search for cold items: interactions with items held out
            whole are then False, and items without a learnable interaction stay out of the vocabularies too. The
            test part is left out in any case. None leaves out nothing else.
        rankers: Families of rankers, the default one first; ``all`` stands for every family that can predict the data
            set's actions.

    Raises:
        RankersInvalid: A ranker is unknown or given twice, there is none, or one cannot predict the data's actions.
        RankerNotFinite: A ranker's loss or scores became NaN or infinite.
        NothingToLearn: Nobody has two items to learn from, or nobody did something new in the validation part.
    """
    report = report or Silent()
    config = profile.config
    wanted = suitable_rankers(rankers, dataset.actions, config.ranker, report)
    runtime.make_deterministic(seed)
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def finish(stage: str) -> None:
        seconds[stage] = round(time.monotonic() - started - sum(seconds.values()), 2)

    report.stage("features")
    interactions = dataset.interactions
    parts = split_dataset(dataset)
    known_rows = None
    if learnable is None:
        learnable = ~parts.test
    else:
        learnable = learnable & ~parts.test
        known_rows = np.unique(interactions.rows[learnable])
    past = interactions.take(parts.train & learnable)
    following = interactions.take(parts.validation & learnable)
    encoder, content = encode_catalogue(dataset.catalogue, config.encoding, known_rows)
    finish("features")

    report.stage("towers")
    try:
        towers = fit_towers(
            encoder,
            content,
            past.take(taste_of(past, dataset.actions)),
            following.take(taste_of(following, dataset.actions)),
            dataset.actions,
            config.towers,
            config.tower_training,
            seed,
            report,
        )
    except ValueError as error:
        raise NothingToLearn(str(error)) from error
    finish("towers")

    report.stage("ranker" if len(wanted) == 1 else "candidates for the rankers")
    examples = make_examples(
        towers,
        past,
        following,
        dataset.actions,
        config.ranker_training.candidate_count,
        config.ranker_training.user_count,
        seed,
        shown_before_test(dataset, parts),
    )
    size = config.ranker.factor_size
    before = make_item_inputs(towers.item_vectors, past, dataset.actions, size, seed)
    trained = _fit_rankers(wanted, examples, before, dataset, profile, seed, report)
    items = make_item_inputs(
        towers.item_vectors,
        interactions.take(learnable),
        dataset.actions,
        size,
        seed,
        before.standardisation,
    )
    finish("ranker")
    return TrainedModels(
        dataset=dataset,
        split=parts,
        profile=profile,
        seed=seed,
        content=content,
        towers=towers,
        rankers=trained,
        items=items,
        learnable=learnable,
        seconds=seconds,
    )


def shown_before_test(dataset: Dataset, parts: Split) -> Exposures | None:
    """What was shown in vain before anything of the test part happened, where the test part begins at a time."""
    if dataset.logged is None:
        return None
    shown = dataset.logged.exposures
    times = dataset.interactions.times
    if dataset.split_rule.kind is not SplitKind.TIME_CUT or times is None or not parts.test.any():
        return shown
    before = shown.times < times[parts.test].min()
    return Exposures(shown.users[before], shown.rows[before], shown.times[before])


def _fit_rankers(
    names: Sequence[str],
    examples: Examples,
    items: ItemInputs,
    dataset: Dataset,
    profile: Profile,
    seed: int,
    report: Report,
) -> dict[str, TrainedRanker]:
    """Trains every ranker on the same examples."""
    config = profile.config
    trained: dict[str, TrainedRanker] = {}
    for name in names:
        if len(names) > 1:
            report.stage(f"ranker {name} ({len(trained) + 1} of {len(names)})")
        try:
            trained[name] = fit_ranker(
                name, examples, items, dataset.actions, config.ranker, config.ranker_training, seed, report
            )
        except ValueError as error:
            raise NothingToLearn(str(error)) from error
        if len(names) > 1:
            report.note(f"{name} took {trained[name].seconds:.0f} s")
    return trained
