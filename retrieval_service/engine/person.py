"""The person who is asked for, as vectors to search with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.catalogue import Catalogue
from retrieval_service.engine.interests import interest_groups
from retrieval_service.engine.query import RetrievalQuery
from retrieval_service.engine.seating import Known
from retrieval_service.engine.user_tower import UserTower
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source

NEIGHBOUR_ITEM_COUNT = 8
"""Of how many of the newest items of a history neighbours are looked for, each by a search of its own. On goodbooks a
fifth of the places for those of 4 items adds nothing to recall@500, for those of 8 it adds 0.013 (docs/evaluation.md).
"""


class Person:
    """What a query tells of a person.

    Args:
        query: The query.
        catalogue: The items.
        tower: The user tower.
        shares: The bundle's, which decide whether tags matter beside a history.

    Raises:
        FloatingPointError: A vector is not of finite numbers.
    """

    def __init__(
        self, query: RetrievalQuery, catalogue: Catalogue, tower: UserTower, shares: Mapping[Source, float]
    ) -> None:
        self._catalogue = catalogue
        self._tower = tower
        self._rows = query.history.rows[-tower.history_length :]
        self._entries: NDArray[np.float32] = catalogue.vectors[self._rows]
        known = len(self._rows) > 0
        user_vector = None
        self.history_weights: NDArray[np.float32] | None = None
        """float32[H], what each entry weighs in the user vector; None unless asked for and told."""
        if known and query.return_history_weights:
            user_vector, weights = tower.encode_weighing(self._entries)
            if weights is not None:
                # Entries older than the tower reads weigh nothing.
                self.history_weights = np.zeros(len(query.history), np.float32)
                self.history_weights[-len(weights) :] = weights
        elif known:
            user_vector = tower.encode(self._entries)
        if user_vector is not None:
            user_vector = finite(user_vector, "user vector")
        tag_vector = None
        self.carrying: RowSet | None = None
        """The rows that carry an interest tag, where the tags have no vector; None when no item does."""
        if query.interest_tags and (not known or query.quotas or Source.INTEREST_TAGS in shares):
            if catalogue.tags is not None:
                tag_vector = catalogue.tags.mean(query.interest_tags)
            if tag_vector is None:
                self.carrying = catalogue.attributes.carrying(query.interest_tags) or None
            else:
                tag_vector = finite(tag_vector, "vector of interest tags")
        self._tag_vector = tag_vector
        self.vector = tag_vector if user_vector is None else user_vector
        """float32[D], what candidates are scored with: the user vector, else that of the tags, else None."""
        self.known = Known(
            history=known,
            tags=tag_vector is not None or self.carrying is not None,
            tag_vector=tag_vector is not None,
            included=len(query.include_rows) > 0,
        )

    def vectors(self, source: Source) -> Sequence[NDArray[np.float32]] | None:
        """What a source searches with, maybe nothing; None for a source that does not search."""
        if source is Source.USER_VECTOR:
            return [] if self.vector is None else [self.vector]
        if source is Source.INTEREST_TAGS:
            return None if self._tag_vector is None else [self._tag_vector]
        if source is Source.INTEREST_VECTORS:
            return [
                finite(self._tower.encode(self._entries[group]), "interest vector")
                for group in interest_groups(self._entries)
            ]
        if source is Source.NEIGHBOURS:
            newest = list(dict.fromkeys(self._rows[::-1].tolist()))[:NEIGHBOUR_ITEM_COUNT]
            return [finite(np.array(self._catalogue.vectors[row]), "item vector") for row in newest]
        return None


def finite(vector: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Returns a vector of numbers: an index answers anything else with rows that mean nothing.

    Args:
        vector: float32[D].
        name: What it is, for the message.

    Raises:
        FloatingPointError: It holds NaN or infinity, as a damaged tower answers.
    """
    # One number tells: whatever is not finite makes its inner product with itself so.
    if not isfinite(vector @ vector):
        raise FloatingPointError(f"{name}: expected {len(vector)} finite numbers, received NaN or infinity")
    return vector
