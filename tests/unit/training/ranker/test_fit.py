from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.unit.training.ranker.made_examples import SIZES, made_examples, made_items
from tests.unit.training.tiny_dataset import ACTIONS
from training import runtime
from training.config import RankerTraining
from training.progress import Silent
from training.ranker.fit import TrainedRanker, fit_ranker
from training.ranker.model import RankerModel, build_ranker

runtime.make_deterministic(0)


@dataclass
class Notes(Silent):
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.lines.append(text)


def _fit(learning_rate: float, report: Notes, people_count: int = 120) -> TrainedRanker:
    items = made_items()
    config = RankerTraining(
        negative_count=20, batch_size=32, max_epoch_count=2, learning_rate=learning_rate, positive_count=4
    )
    return fit_ranker(made_examples(items, people_count), items, ACTIONS, SIZES, config, 0, report)


def test_training_that_improves_nothing_keeps_the_first_guess_and_says_so() -> None:
    report = Notes()
    trained = _fit(0.0, report)
    assert (trained.best_epoch, trained.epoch_count) == (0, 2)
    assert report.lines[0] == (
        "first guess: rated by retrieval score alone; liked by nearness alone; saved by retrieval score alone"
    )
    assert report.lines[-1] == (
        "kept epoch 0: training did not improve on the first guess, which is published as it is"
    )
    # Half of the mean is the likes, which the first guess puts in order and the retrieval order does not.
    assert trained.best_score > trained.retrieval_score


def test_with_too_few_people_to_measure_on_the_last_epoch_is_kept() -> None:
    report = Notes()
    trained = _fit(1e-3, report, people_count=9)
    assert trained.best_epoch == trained.epoch_count == 2
    assert np.isnan(trained.best_score)
    assert report.lines[-1] == "kept epoch 2, the last: too few people to measure any on"


@pytest.fixture(scope="module")
def model() -> RankerModel:
    return build_ranker(SIZES, ACTIONS, vector_size=4, feature_count=3)


def test_a_ranker_that_is_worse_than_retrieval_is_warned_of(model: RankerModel) -> None:
    assert TrainedRanker(model, 0.1221, 0.1363, 2, 1, 1500).notes() == [
        "kept epoch 1",
        (
            "warning: on 1,500 people the ranker orders candidates worse than retrieval does: "
            "NDCG@10 0.1221 against 0.1363"
        ),
    ]


def test_a_ranker_as_good_as_retrieval_is_not(model: RankerModel) -> None:
    assert TrainedRanker(model, 0.1363, 0.1363, 2, 2, 1500).notes() == ["kept epoch 2"]
