from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training.ranker.made_examples import LIKED, SAVED, SIZES, made_examples, made_items
from tests.unit.training.tiny_dataset import ACTIONS
from training import runtime
from training.ranker.families.content import ContentRanker
from training.ranker.families.registry import build_ranker
from training.ranker.first_guess import FIRST_GUESSES, FirstGuess, choose_first_guess
from training.ranker.probe import probe_order
from training.ranker.scorer import RankerScorer

runtime.make_deterministic(0)

ITEMS = made_items()
PEOPLE = np.arange(80)


@pytest.fixture
def model() -> ContentRanker:
    made = build_ranker("content", SIZES, ACTIONS, vector_size=4, feature_count=3)
    assert isinstance(made, ContentRanker)
    return made


def test_each_action_starts_from_what_it_follows(model: ContentRanker) -> None:
    examples = made_examples(ITEMS, len(PEOPLE))
    scorer = RankerScorer(model, ITEMS)
    chosen = choose_first_guess(model, scorer, examples, PEOPLE)
    assert chosen["liked"] == FirstGuess(1.0, 0.0)
    assert chosen["saved"] == FirstGuess(0.0, 10.0)
    rows, scores = examples.candidates.rows, examples.candidates.scores
    logits = scorer.logits(examples.requests, PEOPLE, rows, scores)
    np.testing.assert_allclose(logits[:, :, SAVED], 10 * scores, rtol=1e-5)
    liked = examples.requests.histories.rows[:, -2]
    cosines = np.einsum("bnk,bk->bn", ITEMS.factors[rows, 0], ITEMS.factors[liked, 0])
    np.testing.assert_allclose(logits[:, :, LIKED], np.log(1e-3 + np.maximum(cosines, 0) ** 6), atol=1e-3)


def test_no_action_starts_below_the_retrieval_order(model: ContentRanker) -> None:
    examples = made_examples(ITEMS, len(PEOPLE))
    rng = np.random.default_rng(3)
    # Next items drawn from all candidates: what ranks best is chance, the retrieval order included.
    drawn = np.stack([rng.permutation(own)[:4] for own in examples.candidates.rows])
    examples = replace(examples, next_rows=drawn.ravel(), next_labels=rng.random((drawn.size, 3)) < 0.5)
    scorer = RankerScorer(model, ITEMS)
    choose_first_guess(model, scorer, examples, PEOPLE)
    logits = scorer.logits(examples.requests, PEOPLE, examples.candidates.rows, examples.candidates.scores)
    columns = [0, 1, 2]
    retrieval, guess = (probe_order(examples, PEOPLE, order, columns) for order in (None, logits))
    assert all(np.greater_equal(guess, retrieval))


def test_an_action_that_nobody_did_starts_from_the_retrieval_order(model: ContentRanker) -> None:
    chosen = choose_first_guess(model, RankerScorer(model, ITEMS), made_examples(ITEMS, 20), np.arange(20))
    assert chosen["rated"] == FIRST_GUESSES[0] == FirstGuess(0.0, 10.0)


def test_a_guess_reads_as_what_it_is() -> None:
    texts = [str(FirstGuess(*weights)) for weights in ((0.0, 10.0), (1.0, 0.0), (1.0, 3.0))]
    assert texts == ["retrieval score alone", "nearness alone", "nearness + 3 x retrieval score"]
