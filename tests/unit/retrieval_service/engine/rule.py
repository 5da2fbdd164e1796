"""Retrieval's documented rule, one row at a time, over the small catalogue of tests/bundles.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.interests import interest_groups
from retrieval_service.engine.query import RetrievalQuery
from tests.bundles import CLUSTERS, LANGUAGES, TinyCatalogue, make_orders, make_tag_vectors
from twostage.bundle.filters import Condition, Filter
from twostage.candidates.source import Source
from twostage.features.history import History

ITEM_COUNT = 200
ROW = st.integers(0, ITEM_COUNT - 1)
Vector = NDArray[np.float64]


def history(*rows: int) -> History:
    return History.of_rows(np.array(rows, np.uint32))


def array(rows: list[int]) -> NDArray[np.uint32]:
    return np.array(rows, np.uint32)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    conditions = []
    if draw(st.booleans()):
        conditions.append(Condition("tags", any_of=tuple(draw(st.lists(st.sampled_from(CLUSTERS), max_size=4)))))
    if draw(st.booleans()):
        conditions.append(Condition("language", none_of=(draw(st.sampled_from(LANGUAGES)),)))
    if draw(st.booleans()):
        conditions.append(Condition("year", minimum=draw(st.sampled_from([1890.0, 1950.0, 2030.0]))))
    return Filter(tuple(conditions))


@st.composite
def queries(draw: st.DrawFn) -> RetrievalQuery:
    tags = st.sampled_from([*CLUSTERS, "fre", "unknown"])
    return RetrievalQuery(
        history=history(*draw(st.lists(ROW, max_size=60))),
        count=draw(st.integers(1, 260)),
        exclude_rows=array(draw(st.lists(ROW, max_size=120))),
        filter=draw(filters()),
        interest_tags=tuple(draw(st.lists(tags, max_size=3))),
        quotas=draw(st.dictionaries(st.sampled_from(list(Source)), st.integers(0, 120), max_size=6)),
        include_rows=array(draw(st.lists(ROW, max_size=20))),
        return_source_ranks=draw(st.booleans()),
    )


@dataclass
class Rule:
    """What a query should be answered with.

    Args:
        items: The catalogue.
        engine: Only asked for user vectors.
        shares: The bundle's; None for a bundle without optional sources.
    """

    items: TinyCatalogue
    engine: RetrievalEngine
    shares: dict[str, float] | None

    def allowed(self, exclude_rows: NDArray[np.uint32], condition_filter: Filter) -> list[int]:
        """What exclusions and filter leave, item by item."""

        def passes(row: int, condition: Condition) -> bool:
            if condition.attribute == "year":
                return condition.minimum is None or bool(self.items.years[row] >= condition.minimum)
            values = set(self.items.tags[row] if condition.attribute == "tags" else self.items.languages[row])
            wanted, unwanted = set(condition.any_of), set(condition.none_of)
            return (not wanted or bool(values & wanted)) and not values & unwanted

        excluded = set(exclude_rows.tolist())
        return [
            row
            for row in range(ITEM_COUNT)
            if row not in excluded and all(passes(row, condition) for condition in condition_filter.conditions)
        ]

    def vectors(self, query: RetrievalQuery) -> dict[Source, list[Vector]]:
        """What the sources search with."""
        found: dict[Source, list[Vector]] = {}
        rows = query.history.rows[-50:]
        user_vector = self.engine.user_vector(query.history)
        if user_vector is not None:
            found[Source.USER_VECTOR] = [user_vector.astype(np.float64)]
            found[Source.INTEREST_VECTORS] = []
            for group in interest_groups(self.items.vectors[rows]):
                vector = self.engine.user_vector(history(*rows[group]))
                assert vector is not None
                found[Source.INTEREST_VECTORS].append(vector.astype(np.float64))
            newest: list[int] = []
            for row in reversed(rows.tolist()):
                if row not in newest and len(newest) < 8:
                    newest.append(row)
            found[Source.NEIGHBOURS] = [self.items.vectors[row].astype(np.float64) for row in newest]
        if self.shares is not None:
            by_tag = make_tag_vectors(self.items)
            known = [by_tag[tag].astype(np.float64) for tag in set(query.interest_tags) if tag in by_tag]
            if known:
                mean = np.sum(known, axis=0)
                found[Source.INTEREST_TAGS] = [mean / np.linalg.norm(mean)]
        return found

    def lists(self, query: RetrievalQuery, vectors: dict[Source, list[Vector]]) -> dict[Source, list[int]]:
        """All that each source could bring, best first."""
        allowed = self.allowed(query.exclude_rows, query.filter)
        popular = sorted(allowed, key=lambda row: (-self.items.popularity[row], row))
        lists = {
            Source.INCLUDED: [row for row in dict.fromkeys(query.include_rows.tolist()) if row in allowed],
            Source.POPULAR: popular,
        }
        tags = set(query.interest_tags)
        carries = {row for row in range(ITEM_COUNT) if tags & {*self.items.tags[row], *self.items.languages[row]}}
        if carries:
            lists[Source.INTEREST_TAGS] = [row for row in popular if row in carries]
        if self.shares is not None:
            orders = make_orders(self.items)
            for source, order in (
                (Source.TRENDING, orders.trending),
                (Source.NEW, orders.arrivals),
                (Source.REPRESENTATIVES, orders.representatives),
            ):
                lists[source] = [row for row in order.tolist() if row in allowed]
        for source, several in vectors.items():
            nearest = [
                sorted(allowed, key=lambda row, scores=self.items.vectors @ vector: (-scores[row], row))  # type: ignore[misc]
                for vector in several
            ]
            lists[source] = list(dict.fromkeys(_dealt(nearest)))
        return lists

    def seats(self, query: RetrievalQuery, known: set[Source], *, by_vector: bool) -> list[tuple[Source, int]]:
        """Who is seated, in which order, with how many places at most."""
        tags = Source.INTEREST_TAGS in known
        leader = Source.USER_VECTOR if len(query.history) else Source.INTEREST_TAGS if tags else Source.POPULAR
        reserved = dict(query.quotas)
        if not reserved:
            shares = {Source[name.upper()]: s for name, s in (self.shares or {}).items() if name.isidentifier()}
            if not by_vector:
                shares = {} if tags else {Source.TRENDING: 0.5, Source.REPRESENTATIVES: 0.05}
            reserved = {source: int(share * query.count + 1e-9) for source, share in shares.items()}
        by_name = ["INTEREST_VECTORS", "NEIGHBOURS", "INTEREST_TAGS", "TRENDING", "NEW", "REPRESENTATIVES", "POPULAR"]
        before = [Source[name] for name in by_name if Source[name] in reserved and Source[name] != leader]
        order = [Source.INCLUDED, *before, leader]
        whole = by_vector or leader is Source.POPULAR
        if not whole or query.quotas.get(leader, query.count) < query.count:
            order += [source for source in (Source.INTEREST_TAGS, Source.POPULAR) if source not in order]
        limits = {source: query.quotas.get(source, query.count) for source in order}
        limits.update({source: reserved[source] for source in before})
        return [(source, min(limits[source], query.count)) for source in order if source in known]


def seated(
    lists: dict[Source, list[int]], seats: list[tuple[Source, int]], count: int
) -> tuple[dict[int, int], dict[Source, dict[int, int]]]:
    """Places with bits, in the order in which they are taken, and ranks by source."""
    places: dict[int, int] = {}
    ranks: dict[Source, dict[int, int]] = {}
    for source, limit in seats:
        if len(places) == count:
            break
        for rank, row in enumerate(lists[source][:limit], start=1):
            if row not in places and len(places) == count:
                break
            places[row] = places.get(row, 0) | source
            ranks.setdefault(source, {})[row] = rank
    return places, ranks


def by_place(places: dict[int, int], ranks: dict[Source, dict[int, int]]) -> list[int]:
    """The rows in the order that is used where there is no user vector."""
    best = dict.fromkeys(places, math.inf)
    for source, own in ranks.items():
        for row, rank in own.items():
            best[row] = min(best[row], (rank - 0.5) / len(own))
        if source is Source.INTEREST_TAGS:
            break
    return sorted(places, key=best.__getitem__)


def _dealt(lists: list[list[int]]) -> Iterator[int]:
    for several in zip_longest(*lists):
        yield from (row for row in several if row is not None)
