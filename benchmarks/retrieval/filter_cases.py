"""Filters of known selectivity over a folder's items, written and asked as a bundle's attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.item_columns import coded_column
from twostage.bundle.attributes import Attributes
from twostage.bundle.coded_values import CodedValues
from twostage.bundle.filters import Condition, Filter

SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
_PARTS = (2, 5, 10, 10)
"""Into how many parts each level of the shelves splits one of the level above: 2, 10, 100 and 1,000 in all."""
_SAMPLE = 20_000
_MOST_TAGS = 3
_LEAST_SHARE = 5e-4


@dataclass(frozen=True)
class FilterCase:
    """A filter for each query.

    Args:
        name: As tables show it.
        filters: One for each query.
        masks: For a query's number, bool[N], which items pass, by the values as they were drawn, not as written.
    """

    name: str
    filters: list[Filter]
    masks: Callable[[int], NDArray[np.bool_]]


class FilterCatalogue:
    """Attributes that know nothing of the vectors and attributes that follow them.

    ``drawn`` are values that items have at random. ``shelf`` is a department store's: halves of the catalogue along its
    first principal direction, each split along its own into five, and so on, so that every value of a level has the
    same share and items on a shelf are alike. ``tags`` are those of the data, where there are any.

    Args:
        vectors: float32[N, D].
        queries: float32[Q, D].
        items: The data's Parquet file; None leaves out its tags.
        seed: Of the draws.
    """

    def __init__(
        self, vectors: NDArray[np.float32], queries: NDArray[np.float32], items: Path | None, seed: int
    ) -> None:
        self._random = np.random.default_rng(seed)
        self.item_count = len(vectors)
        self._query_count = len(queries)
        self._drawn = {share: self._random.random(self.item_count) < share for share in SELECTIVITIES}
        self._shelves, self._query_shelves = shelves(vectors, queries, _PARTS, self._random)
        self._tags = coded_column(items, "tags", self.item_count) if items is not None and items.is_file() else None

    def write(self, folder: Path) -> dict[str, str]:
        """Writes the attributes; returns their kinds."""
        has = np.stack(list(self._drawn.values()), axis=1)
        offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype(np.int64)
        names = [f"{share:g}" for share in self._drawn]
        columns = {"drawn": CodedValues(offsets, np.nonzero(has)[1].astype(np.uint32), names)}
        every = np.arange(self.item_count + 1, dtype=np.int64)
        for level, codes in enumerate(self._shelves):
            columns[f"shelf{level}"] = CodedValues(every, codes, [f"s{code}" for code in range(int(codes.max()) + 1)])
        if self._tags is not None:
            columns["tags"] = self._tags
        return Attributes.write(folder, columns)

    def cases(self) -> Iterator[FilterCase]:
        """All filters, the widest first of each kind."""
        for share, mask in self._drawn.items():
            asked = Filter((Condition("drawn", any_of=(f"{share:g}",)),))
            yield FilterCase(f"drawn at random, {share:.1%}", [asked] * self._query_count, _always(mask))
        for level, (codes, own) in enumerate(zip(self._shelves, self._query_shelves, strict=True)):
            share = 1 / (int(codes.max()) + 1)
            yield self._shelf_case(f"the person's own shelf, {share:.1%}", level, own)
            elsewhere = (own + self._random.integers(1, int(codes.max()) + 1, len(own))) % (int(codes.max()) + 1)
            yield self._shelf_case(f"another shelf, {share:.1%}", level, elsewhere)
        yield from self._tag_cases()

    def _shelf_case(self, name: str, level: int, wanted: NDArray[np.integer]) -> FilterCase:
        filters = [Filter((Condition(f"shelf{level}", any_of=(f"s{code}",)),)) for code in wanted.tolist()]
        return FilterCase(name, filters, lambda number: self._shelves[level] == wanted[number])

    def _tag_cases(self) -> Iterator[FilterCase]:
        """The most usual tag, the rarest that is not a rarity, and one between."""
        tags = self._tags
        if tags is None:
            return
        shares = np.bincount(tags.codes, minlength=len(tags.vocabulary)) / self.item_count
        usual = np.argsort(-shares, kind="stable")
        usual = usual[shares[usual] >= _LEAST_SHARE]
        rows = np.repeat(np.arange(self.item_count), np.diff(tags.offsets))
        for place in np.unique(np.linspace(0, len(usual) - 1, min(_MOST_TAGS, len(usual))).astype(int)):
            code = usual[place]
            mask = np.zeros(self.item_count, np.bool_)
            mask[rows[tags.codes == code]] = True
            asked = Filter((Condition("tags", any_of=(tags.vocabulary[code],)),))
            name = f"tag {tags.vocabulary[code]}, {shares[code]:.1%}"
            yield FilterCase(name, [asked] * self._query_count, _always(mask))


def _always(mask: NDArray[np.bool_]) -> Callable[[int], NDArray[np.bool_]]:
    return lambda _: mask


def shelves(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], parts: tuple[int, ...], random: np.random.Generator
) -> tuple[list[NDArray[np.uint32]], list[NDArray[np.int64]]]:
    """Splits items into equal parts along their first principal direction, and each part again along its own.

    Args:
        vectors: float32[N, D].
        queries: float32[Q, D].
        parts: For each level, into how many parts one of the level above is split.
        random: Draws the samples that directions are found by.

    Returns:
        For each level uint32[N], each item's part, and int64[Q], the part in which each query would lie.
    """
    item_codes = np.zeros(len(vectors), np.uint32)
    query_codes = np.zeros(len(queries), np.int64)
    items, people = [], []
    for count in parts:
        items.append(np.zeros_like(item_codes))
        people.append(np.zeros_like(query_codes))
        for code in range(int(item_codes.max()) + 1):
            rows, asked = np.flatnonzero(item_codes == code), np.flatnonzero(query_codes == code)
            sample = vectors[np.sort(random.choice(rows, min(_SAMPLE, len(rows)), replace=False))]
            direction = np.linalg.svd(np.cov(sample, rowvar=False), hermitian=True)[2][0].astype(np.float32)
            along = vectors[rows] @ direction
            order = np.argsort(along, kind="stable")
            ends = (np.arange(1, count) * len(rows)) // count
            part = np.empty(len(rows), np.uint32)
            part[order] = np.searchsorted(ends, np.arange(len(rows)), side="right")
            items[-1][rows] = code * count + part
            people[-1][asked] = code * count + np.searchsorted(along[order][ends], queries[asked] @ direction, "right")
        item_codes, query_codes = items[-1], people[-1]
    return items, people
