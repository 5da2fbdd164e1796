"""What every family keeps, whatever it computes."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.ranker.families.papers import (
    ACTIONS,
    CONFIG,
    FEATURE_COUNT,
    ITEM_COUNT,
    LENGTH,
    VECTOR_SIZE,
    Array,
    Case,
    logits_of,
    made_case,
    made_ranker,
    sigmoid,
    table_of,
)
from training import runtime
from training.ranker.families.content import ContentRanker
from training.ranker.families.ranker import Ranker, UserBatch, UserSide
from training.ranker.families.registry import FAMILIES, build_ranker
from twostage.features.actions import Action, ActionSchema

runtime.make_deterministic(0)

ranker = cache(made_ranker)
every_family = pytest.mark.parametrize("family", FAMILIES)
ONE_ACTION = ActionSchema((Action("bought", source="bought"),))
NO_TASTE = ActionSchema((Action("seen", source="seen", taste=False),))


def _alone(side: UserSide, person: int) -> UserSide:
    return UserSide({name: part[person : person + 1] for name, part in side.parts.items()}).single()


@every_family
def test_one_request_scores_as_it_does_in_a_batch(family: str) -> None:
    model, case = ranker(family), made_case()
    batch = logits_of(model, case, calibrated=True)
    side, table = model.encode_user(case.user), table_of(model, case)
    for person in range(len(case.scores)):
        alone = model.score(_alone(side, person), table[person], tf.constant(case.scores[person])).numpy()
        np.testing.assert_allclose(alone, batch[person], rtol=1e-5, atol=1e-5)


@every_family
def test_rows_of_the_table_score_as_the_whole_model_does(family: str) -> None:
    model, case = ranker(family), made_case(counts=(LENGTH,))
    whole = model(
        {
            "vectors": tf.constant(case.vectors),
            "item_features": tf.constant(case.features),
            "factors": tf.constant(case.factors.reshape(ITEM_COUNT, -1)),
            "history": case.user.features,
            "mask": case.user.mask,
            "actions": case.user.actions,
            "values": case.user.values,
            "ages_days": case.user.ages_days,
            "context": case.user.context,
            "retrieval_scores": tf.constant(case.scores[0]),
        }
    ).numpy()
    assert table_of(model, case).shape == (1, ITEM_COUNT, model.candidate_size)
    np.testing.assert_allclose(logits_of(model, case, calibrated=True), whole, rtol=1e-5, atol=1e-5)


@every_family
def test_calibration_scales_and_shifts_each_action(family: str) -> None:
    model, case = ranker(family), made_case()
    expected = logits_of(model, case) * model.scale.numpy() + model.shift.numpy()
    np.testing.assert_allclose(logits_of(model, case, calibrated=True), expected, rtol=1e-5, atol=1e-5)


@every_family
@settings(max_examples=8, deadline=None)
@given(
    counts=st.tuples(*[st.integers(0, LENGTH)] * 2),
    filling=st.sampled_from([0.0, 1.0, -7.5, 1e4, float("inf"), float("nan")]),
    code=st.integers(0, len(ACTIONS.recorded_names)),
)
def test_what_is_in_the_padding_changes_nothing(
    family: str, counts: tuple[int, int], filling: float, code: int
) -> None:
    model, case = ranker(family), made_case(counts=counts)
    user, kept = case.user, case.user.mask > 0
    other = UserBatch(
        tf.where(kept[:, :, None], user.features, filling),
        user.mask,
        tf.where(kept, user.actions, code),
        tf.where(kept, user.values, filling),
        tf.where(kept, user.ages_days, filling),
        user.context,
    )
    np.testing.assert_array_equal(logits_of(model, replace(case, user=other)), logits_of(model, case))


@every_family
def test_longer_padding_changes_nothing(family: str) -> None:
    model, case = ranker(family), made_case(counts=(2, 0))
    user = case.user
    tail = (slice(None), slice(-2, None))
    short = UserBatch(
        user.features[tail], user.mask[tail], user.actions[tail], user.values[tail], user.ages_days[tail], user.context
    )
    np.testing.assert_allclose(
        logits_of(model, replace(case, user=short)), logits_of(model, case), rtol=1e-5, atol=1e-5
    )


@every_family
def test_the_history_counts(family: str) -> None:
    model, case = ranker(family), made_case(counts=(LENGTH, LENGTH))
    logits = logits_of(model, replace(case, scores=np.repeat(case.scores[:1], 2, axis=0)))
    assert np.abs(logits[0] - logits[1]).max() > 1e-2


@every_family
def test_an_empty_history_gives_finite_scores(family: str) -> None:
    assert np.isfinite(logits_of(ranker(family), made_case(counts=(0, 0)))).all()


@every_family
def test_half_precision_tables_score_nearly_the_same(family: str) -> None:
    model, case = ranker(family), made_case()
    features = tf.cast(tf.cast(case.user.features, tf.float16), tf.float32)
    side = model.encode_user(replace(case.user, features=features))
    table = table_of(model, case, np.float16)
    assert np.isfinite(table.numpy()).all()
    half = model.score(side, table, tf.constant(case.scores)).numpy()
    assert np.abs(sigmoid(half) - sigmoid(logits_of(model, case, calibrated=True))).max() < 5e-3


@every_family
@pytest.mark.parametrize("actions", [ONE_ACTION, NO_TASTE], ids=["one action", "no taste"])
def test_data_sets_with_one_action_are_served(family: str, actions: ActionSchema) -> None:
    case = made_case(actions)
    logits = logits_of(made_ranker(family, actions), case)
    assert logits.shape == (3, ITEM_COUNT, 1)
    assert np.isfinite(logits).all()


@every_family
def test_an_untrained_ranker_does_not_overturn_the_retrieval_order(family: str) -> None:
    model = build_ranker(family, CONFIG, ACTIONS, VECTOR_SIZE, FEATURE_COUNT)
    if isinstance(model, ContentRanker):
        model.set_first_guess([0.0] * 3, [10.0] * 3)
    case = made_case()
    case = replace(case, scores=np.linspace(0.6, 0.0, 3 * ITEM_COUNT, dtype=np.float32).reshape(ITEM_COUNT, 3).T)
    logits = logits_of(model, case, calibrated=True)
    # Equal scores are ties, which a stable sort leaves in the order of retrieval.
    ties = bool(np.ptp(logits, axis=1).max() == 0)
    assert ties or (np.diff(logits, axis=1) < 0).all()


@pytest.mark.parametrize("family", ["dcn_v2", "din"])
def test_an_exported_graph_scores_as_the_model_does(family: str, tmp_path: Path) -> None:
    model, case = ranker(family), made_case(counts=(3,))
    table = table_of(model, case)[0]

    def serve(rows: tf.Tensor, scores: tf.Tensor, *user: tf.Tensor) -> tf.Tensor:
        return model.score(model.encode_user(UserBatch(*user)).single(), rows, scores)

    user = [getattr(case.user, field.name) for field in fields(UserBatch)]
    specs = [tf.TensorSpec((None, model.candidate_size)), tf.TensorSpec((None,))]
    specs += [tf.TensorSpec(part.shape, part.dtype) for part in user]
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(name="serve", fn=serve, input_signature=specs)
    archive.write_out(str(tmp_path / "model"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "model"))
    expected = logits_of(model, case, calibrated=True)[0]
    for count in (ITEM_COUNT, 1, 0):
        answer = served.serve(table[:count], tf.constant(case.scores[0, :count]), *user).numpy()
        np.testing.assert_allclose(answer, expected[:count], rtol=1e-5, atol=1e-5)


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"family: expected one of content, neumf, .*, got 'svd'"):
        build_ranker("svd", CONFIG, ACTIONS, VECTOR_SIZE, FEATURE_COUNT)


def _overfit(model: Ranker, case: Case, labels: Array, step_count: int, enough: float) -> float:
    optimizer = keras.optimizers.Adam(2e-2)
    scores, answers = tf.constant(case.scores), tf.constant(labels)
    vectors, features = tf.constant(case.vectors), tf.constant(case.features)
    factors = tf.constant(case.factors.reshape(ITEM_COUNT, -1))

    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            table = tf.concat([model.encode_items(vectors, features), factors], axis=-1)
            table = tf.repeat(table[None], len(case.scores), axis=0)
            logits = model.score(model.encode_user(case.user, training=False), table, scores)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=answers, logits=logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    compiled = tf.function(step)
    loss = np.inf
    for _ in range(step_count):
        loss = float(compiled())
        if loss < enough:
            break
    return loss


@every_family
def test_a_family_learns_a_handful_of_people_by_heart(family: str) -> None:
    case = made_case(counts=(6, 5, 4, 3), seed=1)
    labels = np.zeros((4, ITEM_COUNT, 3), np.float32)
    rng = np.random.default_rng(2)
    for person in range(4):
        rated = rng.permutation(ITEM_COUNT)[:4]
        labels[person, rated, 0] = 1
        labels[person, rated[:2], 1] = 1  # who likes has rated
        labels[person, rng.permutation(ITEM_COUNT)[:2], 2] = 1
    # Unlucky first weights make the smallest nets dead in part.
    keras.utils.set_random_seed(3)
    model = build_ranker(family, CONFIG, ACTIONS, VECTOR_SIZE, FEATURE_COUNT)
    # Who says the share of positives to everybody has a loss of .6 and is right in 70 of 100 cases.
    assert _overfit(model, case, labels, step_count=300, enough=0.1) < 0.15
    learnt = logits_of(model, case) > 0
    assert (learnt == (labels > 0)).mean() > 0.9
