"""Where candidates come from."""

from __future__ import annotations

from enum import IntFlag


class Source(IntFlag):
    """Where candidates come from, as bits that a candidate of several sources has several of."""

    USER_VECTOR = 1
    """Nearest to the user vector."""
    POPULAR = 2
    """The most popular."""
    INTEREST_TAGS = 4
    """Carrying an interest tag, or near to what it means."""
    INCLUDED = 8
    """Asked for by id."""
    INTEREST_VECTORS = 16
    """Nearest to one of several interest vectors: the history in clusters."""
    NEIGHBOURS = 32
    """Nearest to one of the newest items of the history."""
    TRENDING = 64
    """Much acted on lately: counts that decay with time."""
    NEW = 128
    """Arrived lately, the newest first."""
    REPRESENTATIVES = 256
    """Representatives of the catalogue's clusters."""


SEARCHING = Source.USER_VECTOR | Source.INTEREST_VECTORS | Source.NEIGHBOURS | Source.INTEREST_TAGS
"""Sources that search the index, so that a shard finds its own rows alone; every shard knows the others in full.

Interest tags search where the bundle has vectors of tags, and are otherwise known in full too: a list's keys tell.
"""
