"""What the ranker starts from: nearness to the history, the retrieval score, or a mix of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.ranker.examples import Examples
from training.ranker.families.content import ContentRanker
from training.ranker.probe import probe_order
from training.ranker.scorer import RankerScorer

_PEOPLE_COUNT = 1000


@dataclass(frozen=True)
class FirstGuess:
    """How much each part counts in an action's first logit.

    Args:
        nearness: Factor of the nearness to the history as the model was made with it.
        retrieval: Weight of the retrieval score.
    """

    nearness: float
    retrieval: float

    def __str__(self) -> str:
        """For people to read."""
        if self.nearness == 0:
            return "retrieval score alone"
        return f"nearness + {self.retrieval:g} x retrieval score" if self.retrieval else "nearness alone"


# Retrieval scores are about a tenth of a logit: towers learn them at a temperature near 0.1. The retrieval order comes
# first, so that it stands wherever the people tell nothing or no other does better.
FIRST_GUESSES = (
    FirstGuess(0.0, 10.0),
    FirstGuess(1.0, 0.0),
    FirstGuess(1.0, 3.0),
    FirstGuess(1.0, 10.0),
    FirstGuess(1.0, 30.0),
    FirstGuess(1.0, 100.0),
)
"""What is tried, the retrieval order itself among it: a ranker that is worse than no ranker is none."""


def choose_first_guess(
    model: ContentRanker, scorer: RankerScorer, examples: Examples, people: NDArray[np.int64]
) -> dict[str, FirstGuess]:
    """Gives each action of the ranker the first guess that ranks best for it.

    Which one that is depends on the data and on the action: where people choose by what others chose, nearness ranks
    best; where they choose by content, or an action is too rare to compute nearness from, the retrieval score does.

    Args:
        model: The ranker as it was made; changed in place.
        scorer: Scores with that model.
        examples: Candidates and what people did next.
        people: int64[B], whom to choose by, of which the first 1,000 are asked; none that training is measured on.

    Returns:
        By action, the one with the highest NDCG@10; the retrieval order on a tie, or when nobody did the action.
    """
    people = people[:_PEOPLE_COUNT]
    scores = examples.candidates.scores[people]
    # As made, logits are linear in how candidates match: one pass through the graph serves all guesses.
    nearness = scorer.logits(examples.requests, people, examples.candidates.rows[people], scores)
    columns = list(range(model.action_count))
    measures = [
        probe_order(examples, people, guess.nearness * nearness + guess.retrieval * scores[:, :, None], columns)
        for guess in FIRST_GUESSES
    ]
    # The first of equals wins; of an action that nobody did nothing is known, which makes all equal.
    chosen = [FIRST_GUESSES[best] for best in np.argmax(np.nan_to_num(measures), axis=0)]
    model.set_first_guess([guess.nearness for guess in chosen], [guess.retrieval for guess in chosen])
    return dict(zip(model.action_schema.names, chosen, strict=True))
