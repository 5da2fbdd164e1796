"""Caps on shared values, for the rungs on which ranking's selection policy is out of reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twostage.bundle.attributes import Attributes, ValuesColumn
from twostage.errors import InvalidField
from twostage.features.diversity import Cap


class CapCounter:
    """Lets rows through, in the order in which they come, until a value has had its share.

    Args:
        caps: The limits; all hold. An item without any value of an attribute passes its cap.
        attributes: The generation's attributes.

    Raises:
        InvalidField: A cap names an attribute that is not there or is a number.
    """

    def __init__(self, caps: Sequence[Cap], attributes: Attributes) -> None:
        self._columns: list[tuple[ValuesColumn, int, dict[int, int]]] = []
        for position, cap in enumerate(caps):
            field = f"diversity.caps[{position}].attribute"
            column = attributes.column(cap.attribute, field)
            if not isinstance(column, ValuesColumn):
                raise InvalidField(field, "an attribute with values", f"{cap.attribute}, a number")
            self._columns.append((column, cap.max_count, {}))

    def admit(self, row: int) -> bool:
        """Says whether a row is within all caps, and if so counts it."""
        shares: list[tuple[dict[int, int], list[int]]] = []
        for column, max_count, counts in self._columns:
            codes = column.codes_of(row).tolist()
            if any(counts.get(code, 0) >= max_count for code in codes):
                return False
            shares.append((counts, codes))
        for counts, codes in shares:
            for code in codes:
                counts[code] = counts.get(code, 0) + 1
        return True

    def take(self, rows: Iterable[int]) -> None:
        """Counts rows that are shown whatever the caps say, e.g. because they are pinned."""
        for row in rows:
            for column, _, counts in self._columns:
                for code in column.codes_of(row).tolist():
                    counts[code] = counts.get(code, 0) + 1

    def first(self, rows: Iterable[int], count: int) -> list[int]:
        """The positions of the first ``count`` rows that are let through."""
        positions: list[int] = []
        for position, row in enumerate(rows):
            if len(positions) == count:
                break
            if self.admit(row):
                positions.append(position)
        return positions
