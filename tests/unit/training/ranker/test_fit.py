from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from tests.unit.training.ranker.made_examples import SIZES, made_examples, made_items
from tests.unit.training.tiny_dataset import ACTIONS
from training import runtime
from training.config import RankerTraining
from training.errors import RankerNotFinite
from training.progress import Silent
from training.ranker.families.registry import build_ranker
from training.ranker.fit import fit_ranker
from training.ranker.losses import LOSSES
from training.ranker.trained_ranker import TrainedRanker
from twostage.features.actions import Action, ActionSchema

runtime.make_deterministic(0)

CONFIG = RankerTraining(negative_count=20, batch_size=32, max_epoch_count=2, least_step_count=0, positive_count=4)


@dataclass
class Notes(Silent):
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.lines.append(text)


def fit(family: str = "content", report: Notes | None = None, people_count: int = 120, **changes: Any) -> TrainedRanker:
    items = made_items()
    config = replace(CONFIG, **changes)
    report = report or Notes()
    return fit_ranker(family, made_examples(items, people_count), items, ACTIONS, SIZES, config, 0, report)


def test_training_that_improves_nothing_keeps_the_first_guess_and_says_so() -> None:
    report = Notes()
    trained = fit(report=report, learning_rate=0.0)
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
    trained = fit(report=report, learning_rate=1e-3, people_count=9)
    assert trained.best_epoch == trained.epoch_count == 2
    assert np.isnan(trained.best_score)
    assert report.lines[-1] == "kept epoch 2, the last: too few people to measure any on"


@pytest.mark.parametrize("loss", LOSSES)
def test_a_ranker_from_scratch_learns_the_order_by_any_loss(loss: str) -> None:
    report = Notes()
    trained = fit("neumf", report, learning_rate=4e-3, max_epoch_count=1, loss=loss)
    assert trained.best_epoch > 0
    assert trained.best_score > trained.retrieval_score + 0.1
    assert not any(line.startswith("first guess") for line in report.lines)
    assert (trained.name, trained.loss) == ("neumf", loss)
    assert trained.seconds > 0


def test_what_a_ranker_says_before_training_is_what_was_done_on_average() -> None:
    trained = fit("neumf", learning_rate=0.0, max_epoch_count=1)
    # 60 candidates, 2 likes, 2 saves and no rating of each; Platt's fit keeps the mean.
    chances = 1 / (1 + np.exp(-(trained.model.scale * -4.0 + trained.model.shift)))
    assert 0.5 * 2 / 60 < chances[1] < 2 * 2 / 60
    assert chances[0] < 0.5 * 2 / 60


def test_a_ranker_is_the_same_whatever_was_trained_before_it() -> None:
    alone = fit("neumf", learning_rate=1e-3, max_epoch_count=1).model.get_weights()
    fit("content", learning_rate=1e-3, max_epoch_count=1)
    after = fit("neumf", learning_rate=1e-3, max_epoch_count=1).model.get_weights()
    for mine, theirs in zip(alone, after, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loss_that_is_no_number_stops_training_and_names_ranker_and_epoch() -> None:
    with pytest.raises(RankerNotFinite, match=r"ranker dcn_v2, epoch 1: expected (a finite loss|finite scores), got "):
        fit("dcn_v2", learning_rate=1e30)


def test_a_model_with_a_weight_that_is_no_number_is_refused_by_name() -> None:
    model = build_ranker("content", SIZES, ACTIONS, vector_size=4, feature_count=3)
    trained = TrainedRanker("content", model, 0.1, 0.1, 2, 1, 100)
    trained.check_finite()
    model.shift.assign([0.0, np.nan, np.inf])
    with pytest.raises(RankerNotFinite, match=r"ranker content: expected finite weights, got 2 .* in .*shift"):
        trained.check_finite()


@pytest.mark.parametrize("family", ["content", "esmm", "mmoe"])
def test_data_of_a_single_action_are_learnt_from(family: str) -> None:
    items = made_items()
    items = replace(items, factors=items.factors[:, :1])
    examples = made_examples(items, 40)
    examples.requests.histories.actions[:] = np.minimum(examples.requests.histories.actions, 1)
    examples = replace(examples, next_labels=np.ones((len(examples.next_rows), 1), np.bool_))
    actions = ActionSchema((Action("bought", "bought"),))
    config = replace(CONFIG, max_epoch_count=1)
    trained = fit_ranker(family, examples, items, actions, SIZES, config, 0, Notes())
    assert np.isfinite(trained.best_score)
    assert trained.model.scale.shape == (1,)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="loss: expected one of pointwise, pairwise, listwise, mixed, got 'hinge'"):
        fit(loss="hinge")


def notes_of(best_score: float, retrieval_score: float, best_epoch: int) -> list[str]:
    model = build_ranker("content", SIZES, ACTIONS, vector_size=4, feature_count=3)
    return TrainedRanker("content", model, best_score, retrieval_score, 2, best_epoch, 1500).notes()


def test_a_ranker_that_is_worse_than_retrieval_is_warned_of() -> None:
    assert notes_of(0.1221, 0.1363, 1) == [
        "kept epoch 1",
        (
            "warning: on 1,500 people the ranker orders candidates worse than retrieval does: "
            "NDCG@10 0.1221 against 0.1363"
        ),
    ]


def test_a_ranker_as_good_as_retrieval_is_not() -> None:
    assert notes_of(0.1363, 0.1363, 2) == ["kept epoch 2"]


def test_an_unknown_measure_is_none_in_the_manifest() -> None:
    model = build_ranker("content", SIZES, ACTIONS, vector_size=4, feature_count=3)
    stated = TrainedRanker("content", model, float("nan"), 0.25, 2, 2, 0, 1.234, "mixed", 3e-4).as_manifest()
    assert stated.pop("weight_count") > 1000
    assert stated == {
        "epoch_count": 2,
        "best_epoch": 2,
        "ndcg": None,
        "retrieval_ndcg": 0.25,
        "seconds": 1.23,
        "loss": "mixed",
        "learning_rate": 3e-4,
    }
