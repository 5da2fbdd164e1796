"""Items' attributes by column: shown, filtered on and capped by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.coded_values import CodedValues
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.filter_cache import FilterCache
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.number_column import NumberColumn
from twostage.bundle.predicates import HasAny, HasNone, InRange, Kept, Predicate, rows_of_all
from twostage.bundle.row_set import RowSet
from twostage.bundle.values_column import ValuesColumn
from twostage.errors import InvalidField

__all__ = ["AttributeKind", "Attributes", "CodedValues", "NumberColumn", "ValuesColumn"]

CACHE_BYTES = 32 << 20
"""How much memory the sets that recent filters left may take: some 250 at a million items."""
_COSTLY = 32
"""A condition is kept by itself when it costs more than setting the bits of one item in so many."""


class AttributeKind(Enum):
    """How an attribute is kept."""

    VALUES = "values"
    """Zero or more strings an item, e.g. tags, or one, e.g. a language."""
    NUMBER = "number"
    """One number an item, NaN when unknown."""


class Attributes:
    """All attributes of a generation's items.

    Args:
        columns: Name to column.
        item_count: N.
        cache_bytes: How much memory the sets that recent filters left may take; 0 keeps none.
    """

    def __init__(
        self,
        columns: Mapping[str, ValuesColumn | NumberColumn],
        item_count: int,
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._columns = dict(columns)
        self._item_count = item_count
        self._cache = FilterCache(cache_bytes)

    @classmethod
    def open(
        cls, folder: Path, kinds: Mapping[str, str], item_count: int, *, cache_bytes: int = CACHE_BYTES
    ) -> Attributes:
        """Maps the columns in ``folder``.

        Args:
            folder: Where they were written to.
            kinds: Name to AttributeKind value, from the manifest.
            item_count: N.
            cache_bytes: How much memory the sets that recent filters left may take; 0 keeps none.

        Raises:
            BundleCorrupt: A file is absent or does not fit the others.
        """
        columns: dict[str, ValuesColumn | NumberColumn] = {}
        for name, kind in kinds.items():
            if _wrong_name(name):
                raise BundleCorrupt(folder, f"attributes' names {_NAMES}", repr(name)[:80])
            if AttributeKind(kind) is AttributeKind.VALUES:
                columns[name] = ValuesColumn.open(folder / name, item_count)
            else:
                columns[name] = NumberColumn.open(folder / name, item_count)
        return cls(columns, item_count, cache_bytes=cache_bytes)

    def watch_filters(self, on_lookup: Callable[[bool], None]) -> None:
        """Has somebody told of each filter that is looked up whether what it leaves was held."""
        self._cache.on_lookup = on_lookup

    @staticmethod
    def write(
        folder: Path, columns: Mapping[str, Sequence[Sequence[str]] | CodedValues | NDArray[np.float64]]
    ) -> dict[str, str]:
        """Writes columns, one folder each.

        Args:
            folder: Where to.
            columns: Name to float64[N], NaN where unknown, or to N sequences of strings, or to the same as codes.

        Returns:
            Name to kind, for the manifest.

        Raises:
            InvalidField: A name cannot be a folder's.
        """
        kinds: dict[str, str] = {}
        for name, column in columns.items():
            if _wrong_name(name):
                raise InvalidField("attribute", f"a name {_NAMES}", name[:80])
            if isinstance(column, np.ndarray):
                NumberColumn.write(folder / name, column)
                kinds[name] = AttributeKind.NUMBER.value
            else:
                ValuesColumn.write(folder / name, column)
                kinds[name] = AttributeKind.VALUES.value
        return kinds

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes' names."""
        return tuple(self._columns)

    def column(self, name: str, field: str = "attribute") -> ValuesColumn | NumberColumn:
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
                number = column.numbers[row]
                text = "" if np.isnan(number) else f"{number:g}"
            if text:
                described[name] = text
        return described

    def prepare(self) -> None:
        """Builds what filters need and an older bundle does not carry, so that no request waits for it."""
        for column in self._columns.values():
            _ = column.postings if isinstance(column, ValuesColumn) else column.order

    def rows(self, condition_filter: Filter) -> RowSet:
        """Which items pass a filter; sets of recent filters are kept and shared.

        Raises:
            InvalidField: A condition names an attribute that is not there, asks a range of values or values of a
                number, has a bound that is not a number, or bounds that no number satisfies.
        """
        return self._cache.rows(condition_filter, self._evaluate)

    def carrying(self, tags: Sequence[str]) -> RowSet:
        """Which items have at least one of the values in any attribute with values; unknown ones match nothing."""
        columns = [column for column in self._columns.values() if isinstance(column, ValuesColumn)]
        nothing = RowSet.of_ascending(np.empty(0, np.uint32), self._item_count)
        return reduce(or_, (column.postings.union(column.known_codes(tags)) for column in columns), nothing)

    def _evaluate(self, condition_filter: Filter) -> RowSet:
        asked: list[tuple[Predicate, Condition]] = []
        for position, condition in enumerate(condition_filter.conditions):
            field = f"filter.conditions[{position}]"
            column = self.column(condition.attribute, f"{field}.attribute")
            if isinstance(column, ValuesColumn):
                asked += self._of_values(column, condition, field)
            else:
                asked += _of_number(column, condition, field)
        predicates = [predicate for predicate, _ in asked]
        if len(asked) > 1:
            # Long lists of values recur from filter to filter, beside conditions that do not.
            predicates = [
                Kept(predicate, Filter((alone,)), self._cache)
                if predicate.cost > self._item_count / _COSTLY
                else predicate
                for predicate, alone in asked
            ]
        return rows_of_all(predicates, self._item_count)

    def _of_values(self, column: ValuesColumn, condition: Condition, field: str) -> list[tuple[Predicate, Condition]]:
        if condition.has_range:
            raise InvalidField(
                f"{field}.range",
                f"any_of or none_of: {condition.attribute} has values",
                (condition.minimum, condition.maximum),
            )
        asked: list[tuple[Predicate, Condition]] = []
        if condition.any_of:
            wanted = HasAny(column, column.known_codes(condition.any_of))
            asked.append((wanted, replace(condition, none_of=())))
        if condition.none_of:
            refused = HasAny(column, column.known_codes(condition.none_of))
            asked.append((HasNone(refused, self._item_count), replace(condition, any_of=())))
        return asked


def _of_number(column: NumberColumn, condition: Condition, field: str) -> list[tuple[Predicate, Condition]]:
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
    return [(InRange(column, low, high), condition)] if condition.has_range else []


_NAMES = "of 1 to 128 bytes that a folder can have: no slash, no control character, not . or .."


def _wrong_name(name: str) -> bool:
    """Whether a name would leave the attributes' folder or cannot be a folder's."""
    return (
        name in ("", ".", "..")
        or len(name.encode(errors="replace")) > 128
        or any(character in "/\\" or not character.isprintable() for character in name)
    )
