"""Showing a bounded part of an answer by chance, with the probability of everything that is shown.

The best ``count`` of a ranking are its *head*, the ``pool_count`` that follow are the *pool*. Only the last
``explorable_count`` positions of an answer may differ from the head. They are filled from the first to the last, each
by its own draw:

- with probability epsilon by an item of the pool that has not been shown, each with the same chance;
- else, and always when the pool is used up, by the best item of the head that has not been shown: the greedy one.

So a greedy item moves down by one place for every explored one above it, and the last of the head drop out. Given what
was shown above it, the item at an explorable position had the probability (*propensity*)

    1 - epsilon               if it is greedy
    epsilon / pool left       if it is explored, pool left being the pool's items not shown above

and 1 where the pool is used up and at every other position. The product of these over an answer is the probability of
the answer as a whole. This is the epsilon-greedy policy (Sutton and Barto, Reinforcement Learning, 2nd edition, 2018,
section 2.2) applied to the positions in turn; the draws are a hash of the seed and the position, so that whoever has
the ranking and the seed draws the same again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import xxhash

from gateway.engine.plan import Exploration

T = TypeVar("T")

_HALF = 1 << 64
_ROUNDING = 1e-9


class Shown(NamedTuple, Generic[T]):
    """What stands at one position of an answer.

    Args:
        item: What is shown.
        propensity: The probability with which it came to stand there, given what stands above it, within (0, 1].
        explored: True when it was drawn from the pool.
    """

    item: T
    propensity: float
    explored: bool


def explorable_count(count: int, share: float) -> int:
    """How many positions of an answer may be explored: ``share`` of them, rounded up, so that a share explores at all.

    Args:
        count: How many items the answer has.
        share: 0..1.
    """
    # 0.07 * 100 is a hair above 7 in floating point.
    return min(count, math.ceil(share * count - _ROUNDING))


def explore(
    ranked: Sequence[T], count: int, policy: Exploration, seed: str, *, pinned_count: int = 0
) -> list[Shown[T]]:
    """Fills an answer from a ranking, some positions at its end by chance.

    At most ``explorable_count(count, policy.share)`` items are explored, whatever the draws. A ranking of at most
    ``count`` items has no pool: it is shown as it is.

    Args:
        ranked: Items, best first, each once; ``count + policy.pool_count`` of them where there are as many. What is
            beyond them is not shown.
        count: How many items the answer has, fewer where ``ranked`` has fewer.
        policy: How much is explored.
        seed: Names the draws, e.g. the request's id; the same seed draws the same.
        pinned_count: How many items at the head of ``ranked`` stay where they are, whatever the share.

    Returns:
        The answer's items in their order.
    """
    head = ranked[:count]
    pool = list(ranked[count : count + policy.pool_count])
    fixed_count = len(head)
    if policy.epsilon > 0 and pool:
        fixed_count = max(count - explorable_count(count, policy.share), min(pinned_count, count))
    shown = [Shown(item, 1.0, False) for item in head[:fixed_count]]
    greedy = fixed_count
    for position in range(fixed_count, len(head)):
        chance, choice = _draw(seed, position)
        if not pool:
            shown.append(Shown(head[greedy], 1.0, False))
            greedy += 1
        elif chance < policy.epsilon:
            propensity = policy.epsilon / len(pool)
            shown.append(Shown(pool.pop(int(choice * len(pool))), propensity, True))
        else:
            shown.append(Shown(head[greedy], 1.0 - policy.epsilon, False))
            greedy += 1
    return shown


def _draw(seed: str, position: int) -> tuple[float, float]:
    """Two numbers within [0, 1) that depend on seed and position alone."""
    drawn = xxhash.xxh3_128_intdigest(f"explore\x1f{seed}\x1f{position}")
    # 53 bits are what a float holds below 1.
    return (drawn // _HALF >> 11) / (1 << 53), (drawn % _HALF >> 11) / (1 << 53)
