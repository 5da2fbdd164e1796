"""What requests are made of: people, items, values of attributes and actions, as a store has them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from twostage.bundle.attributes import ValuesColumn
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store

PEOPLE_COUNT = 1_000
"""So many people of a store are asked for."""
_ITEM_COUNT = 10_000
_LOOKED_AT_COUNT = 2_000
_VALUE_COUNT = 5


@dataclass(frozen=True)
class Material:
    """What requests are made of.

    Args:
        users: People with a stored history.
        items: Items, as often as people chose them.
        values: Attributes and values that popular items have.
        deeds: Recorded actions with their values, None where an action has none.
    """

    users: Sequence[str] = ()
    items: Sequence[str] = ()
    values: Sequence[tuple[str, str]] = ()
    deeds: Sequence[tuple[str, float | None]] = ()


def store_material(store: Store) -> Material:
    """What the current generation of a store and its people's histories have.

    Raises:
        StoreMissing: The store carries no histories.
        BundleError: It cannot be read.
    """
    people = known_people(store, limit=PEOPLE_COUNT, least_count=1)
    items = [item for person in people for item in person.item_ids][:_ITEM_COUNT]
    deeds = [
        (action, None if math.isnan(value) else value)
        for person in people
        for action, value in zip(person.actions, person.values, strict=True)
    ][:_ITEM_COUNT]
    return Material([person.user_id for person in people], items, _values(store), deeds)


def _values(store: Store) -> list[tuple[str, str]]:
    """The most frequent values of each attribute that has values, among the popular items."""
    generation = store.open()
    rows = generation.popular_rows[:_LOOKED_AT_COUNT].tolist()
    found: list[tuple[str, str]] = []
    for name in generation.attributes.names:
        column = generation.attributes.column(name)
        if isinstance(column, ValuesColumn):
            counts = Counter(value for row in rows for value in column.values_of(row))
            found += [(name, value) for value, _ in counts.most_common(_VALUE_COUNT)]
    return found
