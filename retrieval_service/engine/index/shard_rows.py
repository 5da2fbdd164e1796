"""Which rows belong to which shard."""

from __future__ import annotations

_WORD = 64


def shard_rows(index: int, count: int, item_count: int) -> range:
    """The rows of a shard: stretches of whole 64-bit words of a bitmap, as equal as can be.

    Args:
        index: Which shard, from 0.
        count: How many there are, 1 or more.
        item_count: The catalogue's size; at least one row for each shard is up to the caller.
    """
    words = -(-item_count // _WORD)
    first, end = (min(item_count, _WORD * (number * words // count)) for number in (index, index + 1))
    return range(first, end)
