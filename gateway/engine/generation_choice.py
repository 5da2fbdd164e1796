"""Which generation a request is answered from, so that no answer mixes two.

The gateway holds some, every replica of a stage holds some, and nobody tells them when to move: each prepares the
store's current one when it gets to it. A request is answered from one that the gateway, retrieval (every shard of it)
and ranking hold.

Most wanted is the active one, which is what the store's CURRENT says, and not the highest number: whoever moved
CURRENT back had a reason. Then come older ones, the newest first: that is where everybody was before the active one.
Ones above the active number come last: they are held because they were active once and were taken back, so they are
only for a replica that has nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Held = frozenset[int] | None
"""What a replica holds; None when nothing is known of it."""

Part = Sequence[Held]
"""The replicas of a stage, or of one shard of it."""


def by_preference(active: int, held: Iterable[int]) -> tuple[int, ...]:
    """The gateway's own generations, the most wanted first: the active one, older ones, then those taken back.

    Args:
        active: What the store's CURRENT says, or the newest before it that is held.
        held: All that the gateway holds.
    """
    return tuple(sorted(held, key=lambda number: (number != active, number > active, -number)))


def common_generations(wanted: Sequence[int], parts: Sequence[Part]) -> tuple[int, ...]:
    """Those that every part can answer from, the most wanted first.

    A part can when one of its replicas is known to hold the generation; those of whom nothing is known count only
    where that leaves no common one, or where nothing is known of the whole part: then the first that is asked tells.

    Args:
        wanted: The gateway's own, the most wanted first.
        parts: Of each part, what its replicas hold; a part without replicas stands in nobody's way.

    Returns:
        None when there is no common one, as far as anybody knows.
    """
    known = tuple(number for number in wanted if all(_is_known(number, part) for part in parts))
    return known or tuple(number for number in wanted if all(_is_possible(number, part) for part in parts))


def first_held(wanted: Sequence[int], held: Held) -> int:
    """The most wanted generation that a replica holds.

    Args:
        wanted: At least one, the most wanted first.
        held: What it is known to hold.

    Returns:
        The first one where nothing is known, or where it holds none of them, which it will then say itself.
    """
    if held is not None:
        for number in wanted:
            if number in held:
                return number
    return wanted[0]


def describe_held(part: Part) -> str:
    """What the replicas of a part hold together, e.g. ``generations 4, 3``, in words for a caller."""
    known = {number for held in part if held is not None for number in held}
    if not known:
        return "nothing known"
    return f"generation{'s' if len(known) > 1 else ''} {', '.join(map(str, sorted(known, reverse=True)))}"


def _is_known(number: int, part: Part) -> bool:
    told = False
    for held in part:
        if held is not None:
            if number in held:
                return True
            told = True
    return not told


def _is_possible(number: int, part: Part) -> bool:
    return not part or any(held is None or number in held for held in part)
