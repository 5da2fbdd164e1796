"""Short lists to train on: a person's next items, then sampled negatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import RankerTraining
from training.ranker.examples import Examples
from training.ranker.negatives import NegativeSampler


@dataclass(frozen=True)
class SampledLists:
    """Short lists to train on: a person's next items first, then sampled negatives.

    Args:
        rows: int32[B, n].
        scores: float32[B, n], retrieval scores.
        labels: float32[B, n, A].
        weights: float32[B, n], how many items an entry stands for; 0 where it is padding or a negative that is none.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]


class ListSampler:
    """Draws lists of one length for people of some examples.

    Args:
        examples: The examples.
        item_vectors: float32[N, D], to score what retrieval did not offer.
        unseen: bool[N], items that nobody had acted on, which are no negatives.
        config: How many of what.
    """

    def __init__(
        self,
        examples: Examples,
        item_vectors: NDArray[np.float32],
        unseen: NDArray[np.bool_],
        config: RankerTraining,
    ) -> None:
        self._examples = examples
        self._positive_count = config.positive_count
        self._negatives = NegativeSampler(examples, item_vectors, unseen, config)

    def sample(self, people: NDArray[np.int64], rng: np.random.Generator) -> SampledLists:
        """Draws a list for each of some people.

        Args:
            people: int64[B], positions in the examples.
            rng: The source of randomness.
        """
        examples, positives = self._examples, self._positive_count
        chosen, real = _choose_positives(examples, people, positives, rng)
        negatives = self._negatives.sample(people, rng)
        rows = np.concatenate([examples.next_rows[chosen], negatives.rows], axis=1)
        labels = np.zeros((*rows.shape, examples.next_labels.shape[1]), np.float32)
        labels[:, :positives] = examples.next_labels[chosen] * real[:, :, None]
        return SampledLists(
            rows=rows.astype(np.int32),
            scores=np.concatenate([examples.next_scores[chosen], negatives.scores], axis=1).astype(np.float32),
            labels=labels,
            weights=np.concatenate([real.astype(np.float32), negatives.weights], axis=1),
        )


def _choose_positives(
    examples: Examples, people: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of up to ``count`` next items per person, int64[B, count], and which of them are real."""
    starts = examples.learn_offsets[people]
    lengths = examples.learn_offsets[people + 1] - starts
    # A random stretch of the person's next items, taken as a ring.
    steps = np.arange(count)
    ring = np.maximum(lengths, 1)
    places = starts[:, None] + (rng.integers(0, ring)[:, None] + steps) % ring[:, None]
    real = steps < lengths[:, None]
    return np.where(real, examples.learnable[np.where(real, places, 0)], 0), real
