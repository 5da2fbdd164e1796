"""Two rankings in one answer, so that the same person chooses between them: team draft interleaving.

Radlinski, Kurup and Joachims, How does clickthrough data reflect retrieval quality?, CIKM 2008, algorithm 2: the
ranking whose team is smaller adds its best item that the answer does not have yet; of teams of the same size a coin
chooses. What people do with an item speaks for the ranking whose team it is in.

The teams' sizes never differ by more than one until a ranking has nothing to add; then the other one fills the answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import xxhash

K = TypeVar("K", bound=Hashable)


class Drafted(NamedTuple, Generic[K]):
    """What stands at one position of an interleaved answer.

    Args:
        item: What is shown.
        team: Whose it is: 0 for the first ranking, 1 for the second.
        propensity: The probability with which it came to stand there, given the teams above it: 0.5 where the coin
            decided between two items, else 1.
    """

    item: K
    team: int
    propensity: float


def team_draft(a: Sequence[K], b: Sequence[K], count: int, seed: str) -> list[Drafted[K]]:
    """Interleaves two rankings.

    Args:
        a: The first ranking, best first, each item once.
        b: The second one.
        count: How many items the answer has, fewer where both rankings together have fewer.
        seed: Names the coins, e.g. the request's id; the same seed throws the same.

    Returns:
        The answer's items in their order.
    """
    rankings = (a, b)
    taken: set[K] = set()
    heads = [0, 0]
    sizes = [0, 0]
    coins = _coins(seed)
    drafted: list[Drafted[K]] = []
    while len(drafted) < count:
        for team, ranking in enumerate(rankings):
            while heads[team] < len(ranking) and ranking[heads[team]] in taken:
                heads[team] += 1
        left = [team for team in (0, 1) if heads[team] < len(rankings[team])]
        if not left:
            break
        propensity = 1.0
        if len(left) == 1:
            team = left[0]
        elif sizes[0] != sizes[1]:
            team = 0 if sizes[0] < sizes[1] else 1
        else:
            team = next(coins)
            # Where both would add the same item the coin decides about the team alone.
            propensity = 1.0 if a[heads[0]] == b[heads[1]] else 0.5
        item = rankings[team][heads[team]]
        taken.add(item)
        sizes[team] += 1
        drafted.append(Drafted(item, team, propensity))
    return drafted


def _coins(seed: str) -> Iterator[int]:
    """Fair coins that depend on the seed alone; each hash has 64 of them."""
    block = 0
    while True:
        bits = xxhash.xxh3_64_intdigest(f"interleave\x1f{seed}\x1f{block}")
        for place in range(64):
            yield bits >> place & 1
        block += 1
