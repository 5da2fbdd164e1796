from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from training.ranker.families.pairs import FieldGroup


@settings(max_examples=30, deadline=None)
@given(field_count=st.integers(1, 6), cut=st.integers(1, 6), seed=st.integers(0, 1000))
def test_groups_joined_hold_every_pair_once(field_count: int, cut: int, seed: int) -> None:
    fields = np.random.default_rng(seed).normal(size=(field_count, 2, 4)).astype(np.float32)
    expected = np.zeros((2, 4))
    for one, other in itertools.combinations(fields, 2):
        expected += one * other
    made = FieldGroup.of([tf.constant(field) for field in fields[:cut]])
    if cut < field_count:
        made = made.join(FieldGroup.of([tf.constant(field) for field in fields[cut:]]))
    np.testing.assert_allclose(made.pairs.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(made.total.numpy(), fields.sum(axis=0), atol=1e-5)
