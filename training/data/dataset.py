"""A data set in memory: a catalogue, what people did, and how it is split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twostage.features.actions import ActionSchema
from twostage.features.schema import FeatureSchema


@dataclass(frozen=True)
class Catalogue:
    """The items, one row each; an item's position is its row in everything that follows.

    Args:
        item_ids: N distinct non-empty ids, at most 256 bytes of UTF-8 each.
        columns: A table of N rows with at least the schema's columns: text and categorical as strings (null when
            unknown), numeric as float64 (null when unknown), multi-valued as lists of strings, image as fixed-size
            lists of float32.
        schema: What each column is.
    """

    item_ids: list[str]
    columns: pa.Table
    schema: FeatureSchema

    def __len__(self) -> int:
        """The number of items."""
        return len(self.item_ids)

    def titles(self) -> list[str]:
        """Each item's title, the empty string when unknown."""
        return [title or "" for title in self.columns.column(self.schema.title).to_pylist()]

    def values(self, name: str) -> list[list[str]]:
        """Each item's values in a multi-valued column, in their order, without empty ones."""
        return [[value for value in values or [] if value] for values in self.columns.column(name).to_pylist()]


@dataclass(frozen=True)
class Interactions:
    """What people did, as parallel columns of length M, in the order of the source.

    Args:
        user_ids: U distinct user ids.
        recorded: The names of the recorded actions.
        users: int32[M], positions in ``user_ids``.
        rows: int32[M], rows of the catalogue.
        actions: int16[M], positions in ``recorded``.
        values: float32[M], e.g. stars; NaN where the action has none.
        times: int64[M] in Unix seconds (UTC), or None when the source has no time. A person's order is by time, then
            by position here.
    """

    user_ids: list[str]
    recorded: tuple[str, ...]
    users: NDArray[np.int32]
    rows: NDArray[np.int32]
    actions: NDArray[np.int16]
    values: NDArray[np.float32]
    times: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """The number of interactions."""
        return len(self.users)

    def take(self, selection: NDArray[np.bool_] | NDArray[np.integer]) -> Interactions:
        """The interactions that a mask or positions select; user ids and action names stay as they are."""
        return replace(
            self,
            users=self.users[selection],
            rows=self.rows[selection],
            actions=self.actions[selection],
            values=self.values[selection],
            times=None if self.times is None else self.times[selection],
        )


class SplitKind(Enum):
    """How interactions are held out."""

    HASHED = "hashed"
    """crc32(f"{user_id}:{item_id}") % 10: 0 is test, 1 is validation. For sources without time."""
    TIME_CUT = "time_cut"
    """Everything from ``cut`` on is test; the last tenth before it is validation."""
    LEAVE_LAST_OUT = "leave_last_out"
    """Each person's last interaction is test and the one before it validation, by (time, item id)."""


@dataclass(frozen=True)
class SplitRule:
    """The split that a data set's authors or readers prescribe.

    Args:
        kind: How interactions are held out.
        cut: For TIME_CUT, the first Unix second of the test period.
    """

    kind: SplitKind
    cut: int | None = None


@dataclass(frozen=True)
class Split:
    """Boolean masks over the interactions, disjoint, each of length M."""

    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """One question an evaluation asks: how well are held-out interactions of one action found?

    Args:
        name: The task's name in tables, e.g. ``liked``.
        action: The action (of the schema) whose held-out interactions are the relevant items.
        new_items_only: True when items the person already has in training are neither asked for nor offered.
    """

    name: str
    action: str
    new_items_only: bool = True


@dataclass(frozen=True)
class Exposures:
    """Items that were shown to people who did nothing with them, as parallel columns, by person and then by row.

    Args:
        users: int32[E], positions in the interactions' ``user_ids``.
        rows: int32[E], rows of the catalogue; no pair of a person and a row occurs twice.
        times: int64[E], when each was shown last, Unix seconds.
    """

    users: NDArray[np.int32]
    rows: NDArray[np.int32]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class Logged:
    """What of a data set comes from a gateway's log.

    Args:
        interaction_count: So many of the interactions, the last ones. The gateway's user store has them.
        user_count: So many of the people, the last ones, are known by keys alone.
        exposures: What was shown in vain.
    """

    interaction_count: int
    user_count: int
    exposures: Exposures


@dataclass(frozen=True)
class Dataset:
    """A catalogue and its interactions, with the meaning and the split that belong to them.

    Args:
        name: A short name, e.g. ``goodbooks-10k``.
        catalogue: The items.
        interactions: What people did.
        actions: What each recorded action means.
        split_rule: How to hold out.
        tasks: What an evaluation asks, first the most important.
        fingerprint: sha256 (hex) of the source files' contents or of the generator's parameters.
        notes: Lines worth telling a person, e.g. how many repeated rows were dropped.
        logged: What of it comes from a gateway's log; None when there was none.
    """

    name: str
    catalogue: Catalogue
    interactions: Interactions
    actions: ActionSchema
    split_rule: SplitRule
    tasks: tuple[Task, ...]
    fingerprint: str
    notes: tuple[str, ...] = field(default=())
    logged: Logged | None = None
