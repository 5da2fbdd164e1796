"""How a list is spread over unlike items."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on how many items of a list share a value.

    Args:
        attribute: An attribute with values.
        max_count: 1 or more.
    """

    attribute: str
    max_count: int


@dataclass(frozen=True, slots=True)
class Diversity:
    """How a list is spread over unlike items.

    Args:
        strength: 0..1; 0 keeps the order of the scores, 1 looks at unlikeness alone.
        caps: Limits on shared values; all hold.
    """

    strength: float = 0.0
    caps: tuple[Cap, ...] = ()
