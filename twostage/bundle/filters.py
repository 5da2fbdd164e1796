"""Conditions on items' attributes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One condition on one attribute.

    Args:
        attribute: The attribute's name.
        any_of: The item has at least one of these values; empty asks nothing.
        none_of: The item has none of these values.
        minimum: The attribute is a number of at least this; None asks nothing.
        maximum: The attribute is a number of at most this; None asks nothing.
    """

    attribute: str
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def has_range(self) -> bool:
        """True when a bound is given."""
        return self.minimum is not None or self.maximum is not None


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold; an empty filter lets every item pass."""

    conditions: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        """True when there is a condition."""
        return bool(self.conditions)
