"""Batches for the towers: pairs of a history and a target that share a set of items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import TowerTraining
from training.data.dataset import Interactions
from training.features.histories import UserOrder
from twostage.features.history import HISTORY_LENGTH, SECONDS_PER_DAY


@dataclass(frozen=True)
class Batch:
    """S distinct items, and B pairs whose targets are among them.

    Args:
        items: int32[S], rows of the batch's items, targets and negatives alike.
        targets: int32[B], positions in ``items``.
        history_rows: int32[B, 50].
        history_mask: float32[B, 50].
        history_positions: int32[B, 50], the entry's position in ``items``, -1 when it is not among them.
        excluded: bool[B, S], items that are no negatives for the pair: the person has them.
    """

    items: NDArray[np.int32]
    targets: NDArray[np.int32]
    history_rows: NDArray[np.int32]
    history_mask: NDArray[np.float32]
    history_positions: NDArray[np.int32]
    excluded: NDArray[np.bool_]


class BatchSampler:
    """Draws batches from people's taste.

    Items come first, then pairs whose target is one of them, each as often as it occurs. A convolution over an
    item's text costs far more than a pair does; this way each encoded item serves several pairs as target and all
    pairs as negative. Every pair meets every item of the batch, whose presence does not depend on the pair, so a
    softmax over them tends to log P(item | history); see :attr:`log_popularity` for the correction.

    Where interactions have times, a pair's history is what came before its target; otherwise it is a random part
    of the person's other items.

    Args:
        taste: The interactions that are taste, each (person, item) at most a few times.
        item_count: The catalogue's size.
        config: Sizes and weights.
        seed: Seeds every draw.

    Raises:
        ValueError: Nobody has two items, so there is no pair.
    """

    def __init__(self, taste: Interactions, item_count: int, config: TowerTraining, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._config = config
        order = UserOrder.of(_first_of_each(taste, item_count))
        ordered = order.interactions
        self._timed = ordered.times is not None
        self._rows = ordered.rows.astype(np.int32)
        self._users = ordered.users
        self._offsets = order.offsets
        self._within = np.arange(len(ordered)) - order.offsets[ordered.users]
        lengths = np.diff(order.offsets)[ordered.users]
        eligible = self._within > 0 if self._timed else lengths > 1
        pairs = np.flatnonzero(eligible)
        if len(pairs) == 0:
            raise ValueError("training: expected people with at least two liked items each, found none")
        weights = np.ones(len(pairs))
        if ordered.times is not None and config.half_life_days is not None:
            ages = (ordered.times.max() - ordered.times[pairs]) / SECONDS_PER_DAY
            weights = 0.5 ** (ages / config.half_life_days)
        by_item = np.argsort(self._rows[pairs], kind="stable")
        self._pairs = pairs[by_item]
        self._cumulated = np.concatenate([[0.0], np.cumsum(weights[by_item])])
        counts = np.bincount(self._rows[pairs], minlength=item_count)
        self._item_offsets = np.concatenate([[0], np.cumsum(counts)])
        self._item_weights = np.diff(self._cumulated[self._item_offsets])
        self._known = np.flatnonzero(counts)
        self._known_keys = counts[self._known] ** config.item_sampling_power
        self.item_count = min(config.item_count, len(self._known))
        self._position_of = np.full(item_count, -1, np.int32)

    @property
    def pair_count(self) -> int:
        """How many distinct pairs there are."""
        return len(self._pairs)

    @property
    def log_popularity(self) -> NDArray[np.float32]:
        """float32[N], the log of the share of pairs that have an item as target: Q of the logQ correction.

        Were each target drawn with its own negatives, popular items would be negatives as often as they are
        targets, and the softmax would learn log P(item | history) - log Q(item); X. Yi et al.,
        *Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations*, 2019, subtract log Q from
        the logits to mend that. Here items enter a batch independently of the pairs, which is the mended state; a
        correction of strength a < 1 adds (1 - a) log Q to the logits, so that 0 is the uncorrected softmax.
        """
        weights = np.maximum(self._item_weights, 1e-3)
        return np.log(weights / weights.sum()).astype(np.float32)

    def draw(self) -> Batch:
        """Draws the next batch; shapes never change from batch to batch."""
        # Gumbel keys: the greatest are a weighted sample without replacement.
        keys = np.log(self._known_keys) + self._rng.gumbel(size=len(self._known))
        items = self._known[np.argpartition(-keys, self.item_count - 1)[: self.item_count]]
        items.sort()
        positions = self._position_of
        positions[items] = np.arange(len(items))
        pairs = self._draw_pairs(items)
        history_rows, mask = self._histories(pairs)
        batch = Batch(
            items=items.astype(np.int32),
            targets=positions[self._rows[pairs]],
            history_rows=history_rows,
            history_mask=mask,
            history_positions=np.where(mask > 0, positions[history_rows], -1).astype(np.int32),
            excluded=self._excluded(pairs, len(items)),
        )
        positions[items] = -1
        return batch

    def _draw_pairs(self, items: NDArray[np.integer]) -> NDArray[np.int64]:
        ends = np.cumsum(self._item_weights[items])
        drawn = self._rng.random(self._config.pair_count) * ends[-1]
        chosen = np.minimum(np.searchsorted(ends, drawn, side="right"), len(items) - 1)
        rest = drawn - (ends[chosen] - self._item_weights[items[chosen]])
        starts, stops = self._item_offsets[items[chosen]], self._item_offsets[items[chosen] + 1]
        found = np.searchsorted(self._cumulated, self._cumulated[starts] + rest, side="right") - 1
        return self._pairs[np.clip(found, starts, stops - 1)]

    def _histories(self, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        offsets = self._offsets[self._users[pairs]]
        steps = np.arange(HISTORY_LENGTH)
        if self._timed:
            before = self._within[pairs]
            within = np.maximum(before - HISTORY_LENGTH, 0)[:, None] + steps
            present = within < before[:, None]
        else:
            # A stretch of a person's order, taken as a ring and begun at random, is a cheap random part; the
            # target stands at step 0 of the ring and is left out.
            lengths = self._offsets[self._users[pairs] + 1] - offsets
            start = self._rng.integers(0, np.maximum(lengths - 1 - HISTORY_LENGTH, 0) + 1)
            step = start[:, None] + steps + 1
            present = step < lengths[:, None]
            within = (self._within[pairs][:, None] + step) % lengths[:, None]
        rows = self._rows[np.where(present, offsets[:, None] + within, 0)]
        return np.where(present, rows, 0).astype(np.int32), present.astype(np.float32)

    def _excluded(self, pairs: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
        """The person's own items among the batch's, other than the target."""
        users = self._users[pairs]
        lengths = self._offsets[users + 1] - self._offsets[users]
        of_pair = np.repeat(np.arange(len(pairs)), lengths)
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        positions = self._position_of[self._rows[np.repeat(self._offsets[users], lengths) + within]]
        excluded = np.zeros((len(pairs), count), np.bool_)
        inside = positions >= 0
        excluded[of_pair[inside], positions[inside]] = True
        excluded[np.arange(len(pairs)), self._position_of[self._rows[pairs]]] = False
        return excluded


def _first_of_each(taste: Interactions, item_count: int) -> Interactions:
    """Drops a person's repeats of an item; where there are times, the first stays."""
    keys = taste.users.astype(np.int64) * item_count + taste.rows
    order = np.arange(len(taste)) if taste.times is None else np.argsort(taste.times, kind="stable")
    _, firsts = np.unique(keys[order], return_index=True)
    return taste.take(np.sort(order[firsts]))
