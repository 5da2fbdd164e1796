"""Whose requests are measured, what they have seen, and what an exact search finds for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.whole.answers import CANDIDATE_COUNT, COUNT, Asked, Wanted
from retrieval_service.engine.user_tower import UserTower
from twostage.bundle.attributes import ValuesColumn
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store

_LEAST_COUNT = 5
_MOST_COUNT = 300
_FILTER_COUNT = 16
_LEAST_SHARE, _MOST_SHARE = 0.01, 0.1
_CHUNK = 65_536
_TIE = 1e-6


@dataclass(frozen=True)
class KnownPerson:
    """A person whom the store knows.

    Args:
        asked: A request of theirs.
        taste_rows: int64[H], their taste, oldest first, at least one.
        seen_rows: int64[S], the rows of everything they did, ascending.
    """

    asked: Asked
    taste_rows: NDArray[np.int64]
    seen_rows: NDArray[np.int64]


@dataclass
class Audience:
    """The people of a store, some of whom are kept for events.

    Args:
        store: The store.
        count: How many people at most.
    """

    store: Store
    count: int = _MOST_COUNT
    everybody: list[KnownPerson] = field(init=False)

    def __post_init__(self) -> None:
        """Reads the histories."""
        self.generation = self.store.open()
        actions, ids = self.generation.manifest.action_schema, self.generation.ids
        self.everybody = []
        for person in known_people(self.store, limit=self.count, least_count=_LEAST_COUNT):
            columns = zip(person.item_ids, person.actions, person.values, strict=True)
            taste = ids.rows([item_id for item_id, action, value in columns if actions.is_taste(action, value)])
            if len(taste):
                seen = np.unique(ids.rows(person.item_ids))
                asked = Asked(person.user_id, frozenset(person.item_ids))
                self.everybody.append(KnownPerson(asked, taste, seen))

    @property
    def asking(self) -> list[KnownPerson]:
        """Those who ask and do nothing else: four of five."""
        return [person for position, person in enumerate(self.everybody) if position % 5]

    @property
    def acting(self) -> list[KnownPerson]:
        """Those who do something and ask again."""
        return self.everybody[::5]

    @cached_property
    def filters(self) -> list[tuple[Wanted, frozenset[str]]]:
        """Values that between 1 % and 10 % of the items have, of different attributes, and the ids of those items."""
        ids = self.generation.ids
        found: list[tuple[Wanted, frozenset[str]]] = []
        for name in self.generation.attributes.names:
            column = self.generation.attributes.column(name)
            if not isinstance(column, ValuesColumn):
                continue
            counts = np.bincount(column.codes, minlength=len(column.vocabulary))
            share = counts / self.generation.item_count
            fit = np.flatnonzero((share >= _LEAST_SHARE) & (share <= _MOST_SHARE) & (counts >= 4 * COUNT))
            drawn = np.random.default_rng(3).permutation(fit)[:_FILTER_COUNT]
            owners = np.repeat(np.arange(self.generation.item_count), np.diff(column.offsets))
            for code in drawn.tolist():
                rows = np.unique(owners[column.codes == code])
                found.append((Wanted(name, column.vocabulary[code]), frozenset(ids.ids(rows))))
        return found

    def filtered(self, count: int) -> list[tuple[Asked, frozenset[str]]]:
        """At most so many requests with filters, by turns, and what each lets through: `COUNT` unseen items or more."""
        pairs = []
        for position in range(count if self.filters else 0):
            person = self.asking[position % len(self.asking)].asked
            wanted, allowed = self.filters[position % len(self.filters)]
            if len(allowed - person.seen) >= COUNT:
                pairs.append((person._replace(wanted=wanted), allowed))
        return pairs

    def exact_scores(self, people: Sequence[KnownPerson]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What a search of everything finds for some people.

        Returns:
            float32[P, D], the people's vectors, and float32[P], the inner product of the last of the `CANDIDATE_COUNT`
            nearest items that a person has not seen.
        """
        tower = self.generation.manifest.tower
        vectors = self.generation.array(tower.item_vectors)
        model = UserTower(self.generation.path / tower.user_tower, tower.dimension, tower.history_length)
        newest = [person.taste_rows[-tower.history_length :] for person in people]
        users = np.stack([model.encode(np.asarray(vectors[rows], np.float32)) for rows in newest])
        scores = np.empty((len(people), len(vectors)), np.float32)
        for start in range(0, len(vectors), _CHUNK):
            scores[:, start : start + _CHUNK] = users @ vectors[start : start + _CHUNK].T
        for position, person in enumerate(people):
            scores[position, person.seen_rows] = -np.inf
        at = min(CANDIDATE_COUNT, scores.shape[1])
        return users, -np.partition(-scores, at - 1, axis=1)[:, at - 1]

    def recall(
        self,
        person: KnownPerson,
        user: NDArray[np.float32],
        least_score: float,
        rows: NDArray[np.integer],
    ) -> float:
        """The share of the `CANDIDATE_COUNT` nearest unseen items among some rows.

        An item as near as the last of them counts as one of them.

        Args:
            person: Whose.
            user: float32[D], their vector.
            least_score: The inner product of the last of the nearest.
            rows: What was found; more than `CANDIDATE_COUNT` are cut.
        """
        vectors = self.generation.array(self.generation.manifest.tower.item_vectors)
        return share_found(rows, np.asarray(vectors[rows], np.float32) @ user, person.seen_rows, least_score)


def share_found(
    rows: NDArray[np.integer], scores: NDArray[np.float32], seen: NDArray[np.integer], least_score: float
) -> float:
    """The share of `CANDIDATE_COUNT` places that distinct, unseen rows fill whose scores are high enough.

    Args:
        rows: int[R], what was found, best first.
        scores: float32[R], their exact scores.
        seen: What may not be found.
        least_score: The score of the last row that an exact search finds.
    """
    distinct, first = np.unique(rows[:CANDIDATE_COUNT], return_index=True)
    good = (scores[first] >= least_score - _TIE) & ~np.isin(distinct, seen)
    return float(good.sum()) / CANDIDATE_COUNT
