"""Items' attributes by column: shown, filtered on and capped by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.arrays import map_array, write_array
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.id_table import IdTable
from twostage.bundle.row_set import RowSet
from twostage.errors import InvalidField


class AttributeKind(Enum):
    """How an attribute is kept."""

    VALUES = "values"
    """Zero or more strings an item, e.g. tags, or one, e.g. a language."""
    NUMBER = "number"
    """One number an item, NaN when unknown."""


class ValuesColumn:
    """Zero or more values for each item, as codes into a vocabulary.

    Args:
        offsets: int64[N + 1], where each item's codes start.
        codes: uint32[C], codes of all items, one after another.
        vocabulary: The values by code, and back.
    """

    def __init__(self, offsets: NDArray[np.int64], codes: NDArray[np.uint32], vocabulary: IdTable) -> None:
        self.offsets = offsets
        self.codes = codes
        self.vocabulary = vocabulary

    @classmethod
    def open(cls, folder: Path, item_count: int) -> ValuesColumn:
        """Maps the column in ``folder``."""
        offsets = map_array(folder / "offsets.npy", shape=(item_count + 1,))
        codes = map_array(folder / "codes.npy", shape=(None,))
        return cls(offsets, codes, IdTable.open(folder / "vocabulary"))

    @staticmethod
    def write(folder: Path, values: Sequence[Sequence[str]]) -> None:
        """Writes a column; ``values`` has one sequence per item, values of an item in their order."""
        vocabulary: dict[str, int] = {}
        offsets = np.zeros(len(values) + 1, np.int64)
        codes: list[int] = []
        for row, item_values in enumerate(values):
            codes.extend(vocabulary.setdefault(value, len(vocabulary)) for value in dict.fromkeys(item_values))
            offsets[row + 1] = len(codes)
        write_array(folder / "offsets.npy", offsets)
        write_array(folder / "codes.npy", np.array(codes, np.uint32))
        IdTable.write(folder / "vocabulary", list(vocabulary))

    def codes_of(self, row: int) -> NDArray[np.uint32]:
        """The codes of an item, in their order."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]]

    def values_of(self, row: int) -> list[str]:
        """The values of an item, in their order."""
        return self.vocabulary.ids(self.codes_of(row))

    def has_any(self, values: Sequence[str]) -> NDArray[np.bool_]:
        """bool[N], which items have at least one of the values; values nobody has match nothing."""
        wanted = self.vocabulary.rows(values)
        flags = np.zeros(len(self.vocabulary) + 1, np.bool_)
        flags[wanted] = True
        flags[-1] = False  # where the unknown values' -1 landed
        hits = np.zeros(len(self.codes) + 1, np.int64)
        np.cumsum(flags[self.codes], out=hits[1:])
        mask: NDArray[np.bool_] = hits[self.offsets[1:]] > hits[self.offsets[:-1]]
        return mask


class Attributes:
    """All attributes of a generation's items.

    Args:
        columns: Name to column; a number column is float64[N], NaN when unknown.
        item_count: N.
    """

    def __init__(self, columns: Mapping[str, ValuesColumn | NDArray[np.float64]], item_count: int) -> None:
        self._columns = dict(columns)
        self._item_count = item_count

    @classmethod
    def open(cls, folder: Path, kinds: Mapping[str, str], item_count: int) -> Attributes:
        """Maps the columns in ``folder``; ``kinds`` comes from the manifest: name to AttributeKind value."""
        columns: dict[str, ValuesColumn | NDArray[np.float64]] = {}
        for name, kind in kinds.items():
            if AttributeKind(kind) is AttributeKind.VALUES:
                columns[name] = ValuesColumn.open(folder / name, item_count)
            else:
                columns[name] = map_array(folder / name / "numbers.npy", shape=(item_count,))
        return cls(columns, item_count)

    @staticmethod
    def write(folder: Path, columns: Mapping[str, Sequence[Sequence[str]] | NDArray[np.float64]]) -> dict[str, str]:
        """Writes columns, one folder each.

        Args:
            folder: Where to.
            columns: Name to float64[N], or to N sequences of strings.

        Returns:
            Name to kind, for the manifest.
        """
        kinds: dict[str, str] = {}
        for name, column in columns.items():
            if isinstance(column, np.ndarray):
                write_array(folder / name / "numbers.npy", column.astype(np.float64))
                kinds[name] = AttributeKind.NUMBER.value
            else:
                ValuesColumn.write(folder / name, column)
                kinds[name] = AttributeKind.VALUES.value
        return kinds

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes' names."""
        return tuple(self._columns)

    def column(self, name: str, field: str = "attribute") -> ValuesColumn | NDArray[np.float64]:
        """A column by name.

        Raises:
            InvalidField: There is no such attribute; ``field`` names the request's field.
        """
        column = self._columns.get(name)
        if column is None:
            raise InvalidField(field, f"one of {', '.join(self._columns) or 'no attributes'}", name)
        return column

    def describe(self, row: int, names: Sequence[str]) -> dict[str, str]:
        """The named attributes of an item as text, several values joined by ``", "``; unknown ones left out."""
        described: dict[str, str] = {}
        for name in names:
            column = self.column(name)
            if isinstance(column, ValuesColumn):
                text = ", ".join(column.values_of(row))
            else:
                number: Any = column[row]
                text = "" if np.isnan(number) else f"{number:g}"
            if text:
                described[name] = text
        return described

    def rows(self, condition_filter: Filter) -> RowSet:
        """Which items pass a filter.

        Raises:
            InvalidField: A condition names an attribute that is not there, asks a range of values or values of a
                number, has a bound that is not a number, or bounds that no number satisfies.
        """
        mask = np.ones(self._item_count, np.bool_)
        for position, condition in enumerate(condition_filter.conditions):
            mask &= self._condition_mask(condition, f"filter.conditions[{position}]")
        return RowSet.of_mask(mask)

    def _condition_mask(self, condition: Condition, field: str) -> NDArray[np.bool_]:
        column = self.column(condition.attribute, f"{field}.attribute")
        if isinstance(column, ValuesColumn):
            if condition.has_range:
                raise InvalidField(
                    f"{field}.range",
                    f"any_of or none_of: {condition.attribute} has values",
                    (condition.minimum, condition.maximum),
                )
            mask = np.ones(self._item_count, np.bool_)
            if condition.any_of:
                mask &= column.has_any(condition.any_of)
            if condition.none_of:
                mask &= ~column.has_any(condition.none_of)
            return mask
        if condition.any_of or condition.none_of:
            raise InvalidField(
                f"{field}.any_of",
                f"a range: {condition.attribute} is a number",
                (condition.any_of or condition.none_of)[:3],
            )
        low = -np.inf if condition.minimum is None else condition.minimum
        high = np.inf if condition.maximum is None else condition.maximum
        if np.isnan(low) or np.isnan(high) or low > high:
            raise InvalidField(f"{field}.range", "min <= max", (low, high))
        if not condition.has_range:
            return np.ones(self._item_count, np.bool_)
        # Comparisons with NaN are false, so items without a number do not pass a range.
        within: NDArray[np.bool_] = (column >= low) & (column <= high)
        return within
