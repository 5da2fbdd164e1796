from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training.ranker.made_examples import LIKED, RATED, SAVED, made_examples, made_items
from training.ranker.probe import mean_score, probe_order


def test_an_order_is_measured_by_action_over_the_people_who_did_it() -> None:
    examples = made_examples(made_items(), 3)
    # The second person's first and fourth candidate become their next likes: (1 + 1/log2 5) / (1 + 1/log2 3).
    next_rows = examples.next_rows.copy()
    next_rows[4:6] = examples.candidates.rows[1, [0, 3]]
    labels = examples.next_labels.copy()
    labels[:4] = labels[8:] = False
    examples = replace(examples, next_rows=next_rows, next_labels=labels)
    found = probe_order(examples, np.arange(3), None, [LIKED, RATED])
    assert found[0] == pytest.approx((1 + 1 / math.log2(5)) / (1 + 1 / math.log2(3)))
    assert math.isnan(found[1])
    # Logits turn the list around: neither is among the last ten.
    logits = np.zeros((3, examples.candidates.rows.shape[1], 3))
    logits[:, :, LIKED] = np.arange(logits.shape[1])
    assert probe_order(examples, np.arange(3), logits, [LIKED]) == [0.0]


def test_places_without_a_candidate_stand_last_whatever_their_logits() -> None:
    examples = made_examples(made_items(), 2)
    rows = examples.candidates.rows.copy()
    rows[:, :20] = -1
    examples = replace(examples, candidates=replace(examples.candidates, rows=rows))
    logits = np.zeros((2, rows.shape[1], 3))
    logits[:, :20] = 9.0
    shown = [[rows[person, 20 + place] for place in range(2)] for person in range(2)]
    examples = replace(examples, next_rows=np.array([[*pair, *pair] for pair in shown], np.int32).ravel())
    assert probe_order(examples, np.arange(2), logits, [SAVED]) == [1.0]


def test_the_mean_leaves_out_actions_that_nobody_did() -> None:
    assert mean_score([0.2, float("nan"), 0.4]) == pytest.approx(0.3)
    assert math.isnan(mean_score([float("nan")]))
