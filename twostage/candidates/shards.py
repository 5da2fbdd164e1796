"""What shards brought, put together as one index over all rows would have brought it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twostage.candidates.source import SEARCHING, Source
from twostage.candidates.source_list import SourceList, merge_shards

_Name = tuple[Source, int]


def merge_answers(answers: Sequence[Sequence[SourceList]]) -> list[SourceList]:
    """One answer out of those of all shards, ready for :func:`twostage.candidates.blend.blend`.

    Lists with keys are merged; of those without, which every shard knows in full, one is kept.

    Args:
        answers: The lists of each shard in the shard's order; one shard at least was asked for shared sources too, and
            its order is the answer's.
    """
    by_name: dict[_Name, list[SourceList]] = {}
    for answer in sorted(answers, key=len, reverse=True):
        for part in answer:
            by_name.setdefault((part.source, part.group), []).append(part)
    return [
        merge_shards(parts) if any(part.keys is not None for part in parts) else parts[0] for parts in by_name.values()
    ]


def is_short(merged: SourceList, allowed_count: int) -> bool:
    """True when a merged list lacks rows that the shards may have: they are then to be asked exhaustively.

    Args:
        merged: A list of a first, not exhaustive round.
        allowed_count: How many rows filter and exclusions leave in the whole catalogue.
    """
    # An empty list may have lost its keys on the way, so it is its source that tells whether it searches.
    searched = merged.keys is not None or (not len(merged.rows) and bool(merged.source & SEARCHING))
    return searched and len(merged.rows) < min(merged.wanted_count, allowed_count)


def complete(merged: Sequence[SourceList], exhaustive: Sequence[SourceList], allowed_count: int) -> list[SourceList]:
    """Puts the lists of an exhaustive round in the place of those that were short, and of those alone.

    An index over all rows scans for the searches that found too few, not for the others; so does the merged answer.

    Args:
        merged: The lists of the first round, merged.
        exhaustive: The lists of the second, merged.
        allowed_count: How many rows filter and exclusions leave in the whole catalogue.
    """
    found = {(entry.source, entry.group): entry for entry in exhaustive}
    return [
        replace(found.get((entry.source, entry.group), entry), wanted_count=entry.wanted_count)
        if is_short(entry, allowed_count)
        else entry
        for entry in merged
    ]
