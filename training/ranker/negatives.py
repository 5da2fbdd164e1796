"""Which items stand for what a person did not do: hard, random, popular, other people's positives, and shown ones.

Each kind draws places for a batch of people, and says how many items of the list or the catalogue an entry stands for.
What a person has, does next, or what nobody has acted on is never a negative, whatever drew it: its weight is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import RankerTraining
from training.ranker.examples import Examples

_NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True)
class Negatives:
    """Sampled negatives of B people.

    Args:
        rows: int32[B, n], 0 where there is none.
        scores: float32[B, n], retrieval scores.
        weights: float32[B, n], how many items an entry stands for; 0 where it is no negative.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    weights: NDArray[np.float32]


class NegativeSampler:
    """Draws negatives of every kind that is asked for, in the order hard, random, popular, in-batch, shown.

    - **Hard**: candidates of the person, uniformly with replacement; n of C candidates stand for C / n items each.
    - **Random**: items of the whole catalogue, uniformly with replacement, each counting once.
    - **Popular**: items with probability q proportional to their interactions to a power, with replacement; a power of
      0.75 as in Mikolov et al., *Distributed Representations of Words and Phrases*, NIPS 2013, section 2.2.
    - **In-batch**: what other people of the batch did next, drawn uniformly with replacement, so that q is an item's
      share of all that is learnt from.
    - **Shown**: what the person was shown and did nothing with, uniformly with replacement; n of S items stand for
      S / n items each. Nobody knows whether they looked at it, so it is no stronger a negative than others.

    Popular items are drawn more often in the last two. An entry therefore counts (1 / (N q)) to the power of
    ``negative_correction``: at 1 they are worth in expectation what uniform ones are, which in a softmax is the logQ
    correction of Yi et al., *Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations*, RecSys
    2019; at 0 each entry counts once, and popular items are held back as much as they are drawn.

    Args:
        examples: The examples.
        item_vectors: float32[N, D], to score what retrieval did not offer.
        unseen: bool[N], items that nobody had acted on; as negatives they would teach that new items are bad.
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
        self._item_vectors = item_vectors
        self._unseen = unseen
        self._config = config
        count = len(item_vectors)
        chances = np.where(unseen, 0.0, np.power(examples.item_counts.astype(np.float64), config.popularity_power))
        # Without any interaction nothing is popular, and nothing is a negative either.
        chances = chances / chances.sum() if chances.sum() > 0 else np.full(count, 1.0 / count)
        self._popular_until = np.cumsum(chances)
        self._popular_weight = self._corrected(chances)
        learnt = np.bincount(examples.next_rows[examples.learnable], minlength=count)
        self._in_batch_weight = self._corrected(learnt / max(learnt.sum(), 1))

    def _corrected(self, chances: NDArray[np.floating]) -> NDArray[np.float32]:
        """float32[N], what an item counts that is drawn with these chances."""
        drawn = chances > 0
        uniform = 1.0 / (len(chances) * np.where(drawn, chances, 1.0))
        return np.where(drawn, uniform**self._config.negative_correction, 0.0).astype(np.float32)

    def sample(self, people: NDArray[np.int64], rng: np.random.Generator) -> Negatives:
        """Draws negatives for some people.

        Args:
            people: int64[B], positions in the examples.
            rng: The source of randomness.

        Returns:
            n = negative_count + random_negative_count + popularity_negative_count + in_batch_negative_count +
            shown_negative_count each.
        """
        config = self._config
        rows, scores, weights = self._hard(people, rng)
        random_rows = rng.integers(0, len(self._item_vectors), (len(people), config.random_negative_count))
        others: list[NDArray[np.integer]] = [random_rows]
        counts: list[NDArray[np.floating]] = [np.ones(random_rows.shape)]
        if config.popularity_negative_count:
            drawn = rng.random((len(people), config.popularity_negative_count)) * self._popular_until[-1]
            popular = np.searchsorted(self._popular_until, drawn, side="right")
            others.append(np.minimum(popular, len(self._item_vectors) - 1))
            counts.append(self._popular_weight[others[-1]])
        if config.in_batch_negative_count:
            others.append(self._in_batch(people, rng))
            counts.append(np.where(others[-1] < 0, 0.0, self._in_batch_weight[others[-1]]))
        if config.shown_negative_count:
            shown_rows, each = self._shown(people, rng)
            others.append(shown_rows)
            counts.append(each)
        far_rows = np.concatenate(others, axis=1).astype(np.int32)
        user_vectors = self._examples.requests.user_vectors[people]
        far_scores = np.einsum("bnd,bd->bn", self._item_vectors[far_rows], user_vectors)
        rows = np.concatenate([rows, far_rows], axis=1)
        weights = np.concatenate([weights, *counts], axis=1).astype(np.float32)
        # A sampled negative that the person has, or does next, would teach the opposite.
        weights[owned(self._examples, people, rows, len(self._item_vectors))] = 0.0
        weights[self._unseen[rows]] = 0.0
        weights[rows < 0] = 0.0
        return Negatives(
            np.maximum(rows, 0).astype(np.int32),
            np.concatenate([scores, far_scores], axis=1).astype(np.float32),
            weights,
        )

    def _hard(
        self, people: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        candidates, count = self._examples.candidates, self._config.negative_count
        offered = candidates.rows.shape[1]
        places = rng.integers(0, offered, (len(people), count))
        each = max(offered / max(count, 1), 1.0)
        return (
            candidates.rows[people[:, None], places],
            candidates.scores[people[:, None], places],
            np.full(places.shape, each, np.float32),
        )

    def _shown(
        self, people: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """int32[B, n] of items that the people were shown, -1 where there are none; and how many each stands for."""
        count = self._config.shown_negative_count
        offsets, shown = self._examples.shown or (np.zeros(len(self._examples.requests) + 1, np.int64), _NO_ROWS)
        if not len(shown):
            return np.full((len(people), count), -1, np.int32), np.zeros((len(people), count))
        starts, lengths = offsets[people], np.diff(offsets)[people]
        places = starts[:, None] + (rng.random((len(people), count)) * lengths[:, None]).astype(np.int64)
        # Whoever was shown nothing may stand behind the last one.
        drawn = shown[np.minimum(places, len(shown) - 1)]
        rows = np.where(lengths[:, None] > 0, drawn, -1).astype(np.int32)
        return rows, np.repeat(lengths[:, None] / count, count, axis=1)

    def _in_batch(self, people: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int32]:
        """int32[B, n] of next items of the batch's people; -1 when nobody has any."""
        examples = self._examples
        starts = examples.learn_offsets[people]
        lengths = examples.learn_offsets[people + 1] - starts
        shape = (len(people), self._config.in_batch_negative_count)
        total = int(lengths.sum())
        if total == 0:
            return np.full(shape, -1, np.int32)
        within = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        pool = examples.next_rows[examples.learnable[np.repeat(starts, lengths) + within]]
        # The person's own are among them; they are known as such afterwards.
        return pool[rng.integers(0, total, shape)].astype(np.int32)


def owned(examples: Examples, people: NDArray[np.int64], rows: NDArray[np.int32], item_count: int) -> NDArray[np.bool_]:
    """Which items are the people's own.

    Args:
        examples: The examples.
        people: int64[B], positions in the examples.
        rows: int32[B, n], items; -1 is nobody's.
        item_count: N, the size of the catalogue.

    Returns:
        bool[B, n]: the person has the item, or it is one of their next.
    """
    keys = []
    for offsets, items in ((examples.next_offsets, examples.next_rows), examples.requests.seen):
        lengths = offsets[people + 1] - offsets[people]
        owner = np.repeat(np.arange(len(people)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        keys.append(owner * (item_count + 1) + items[np.repeat(offsets[people], lengths) + within])
    # One place more than there are items, or -1 would be another person's last.
    asked = np.arange(len(people))[:, None] * (item_count + 1) + np.where(rows < 0, item_count, rows)
    found: NDArray[np.bool_] = np.isin(asked, np.concatenate(keys))
    return found
