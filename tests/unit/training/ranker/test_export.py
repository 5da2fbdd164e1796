"""An exported ranker: what its second signature tells, and what half precision costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.unit.training.ranker.made_examples import made_items
from tests.unit.training.ranker.made_rankers import made_ranker, made_requests
from training import runtime
from training.ranker.effects import history_effects
from training.ranker.export import export_ranker, ranker_tables, request_inputs
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.families.registry import FAMILIES
from twostage.features.history import HISTORY_LENGTH
from twostage.features.model_inputs import HISTORY_MASK

runtime.make_deterministic(0)


def _user(inputs: dict[str, NDArray[Any]], mask: NDArray[np.float32]) -> UserBatch:
    features, actions, values, ages, context = (
        tf.constant(inputs[name])
        for name in ("history_features", "history_actions", "history_values", "history_ages_days", "context")
    )
    return UserBatch(features, tf.constant(mask), actions, values, ages, context)


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_are_what_the_logits_lose_without_the_entry(family: str) -> None:
    items = made_items()
    model = made_ranker(family)
    requests, candidates = made_requests(items, 1)
    inputs = request_inputs(ranker_tables(model, items), requests, candidates, 0)
    rows, scores = tf.constant(inputs["candidate_features"]), tf.constant(inputs["retrieval_scores"])
    mask = inputs["history_mask"]

    def logits(kept: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model.score(model.encode_user(_user(inputs, kept)).single(), rows, scores))

    found = history_effects(model, _user(inputs, mask), rows, scores).numpy()
    assert found.shape == (60, HISTORY_LENGTH, 3)
    assert not found[:, 10:].any()
    for entry in range(10):
        without = mask.copy()
        without[0, entry] = 0
        np.testing.assert_allclose(found[:, entry], logits(mask) - logits(without), atol=2e-4)
    assert np.abs(found[:, :10]).max() > 1e-3


@dataclass(frozen=True)
class _Exported:
    signatures: Any
    inputs: list[dict[str, NDArray[Any]]]

    def answer(self, inputs: dict[str, NDArray[Any]], signature: str = "serving_default") -> NDArray[np.float32]:
        (output,) = self.signatures[signature](**{n: tf.constant(a) for n, a in inputs.items()}).values()
        return np.asarray(output)


def _export(model: Ranker, path: Path, dtype: str, people_count: int) -> _Exported:
    items = made_items()
    tables = ranker_tables(model, items, dtype)
    requests, candidates = made_requests(items, people_count)
    export_ranker(model, path, items, tables, requests.first(2), candidates, model_name="made", version=1)
    inputs = [request_inputs(tables, requests, candidates, person) for person in range(people_count)]
    loaded = tf.saved_model.load(str(path))
    return _Exported(loaded.signatures, inputs)


@pytest.fixture(scope="module")
def content() -> Ranker:
    return made_ranker("content")


@pytest.fixture(scope="module")
def exported(content: Ranker, tmp_path_factory: pytest.TempPathFactory) -> _Exported:
    return _export(content, tmp_path_factory.mktemp("content") / "1", "float32", 50)


def _log_odds(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = probabilities.astype(np.float64)
    return np.asarray(np.log(exact) - np.log1p(-exact))


def test_the_second_signature_tells_what_masked_requests_to_the_first_show(exported: _Exported) -> None:
    inputs = exported.inputs[0]
    effects = exported.answer(inputs, "history_effects")
    whole = _log_odds(exported.answer(inputs))
    for entry in range(HISTORY_LENGTH):
        mask = inputs[HISTORY_MASK].copy()
        mask[0, entry] = 0
        without = _log_odds(exported.answer({**inputs, HISTORY_MASK: mask}))
        np.testing.assert_allclose(effects[:, entry], whole - without, atol=1e-3)


def test_nobody_has_no_effects(exported: _Exported) -> None:
    nobody = {**exported.inputs[0], HISTORY_MASK: np.zeros((1, HISTORY_LENGTH), np.float32)}
    effects = exported.answer(nobody, "history_effects")
    assert effects.shape == (60, HISTORY_LENGTH, 3)
    assert not effects.any()


def test_half_precision_keeps_scores_within_0005_and_99_of_100_of_the_best_20(
    content: Ranker, exported: _Exported, tmp_path: Path
) -> None:
    half = _export(content, tmp_path / "1", "float16", 50)
    kept = []
    for whole_inputs, half_inputs in zip(exported.inputs, half.inputs, strict=True):
        assert half_inputs["candidate_features"].dtype == np.float16
        whole, rounded = exported.answer(whole_inputs), half.answer(half_inputs)
        np.testing.assert_allclose(rounded, whole, atol=5e-3)
        for action in range(3):
            best, best_rounded = (set(np.argsort(-scores[:, action])[:20].tolist()) for scores in (whole, rounded))
            kept.append(len(best & best_rounded) / 20)
    assert np.mean(kept) >= 0.99
