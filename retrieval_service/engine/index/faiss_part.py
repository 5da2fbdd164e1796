"""One FAISS index over a stretch of rows: a shard, or all of the catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.coarse_lists import CoarseLists, Way
from retrieval_service.engine.index.exact_scan import inner_products
from retrieval_service.engine.index.selector_support import SelectorSupport, search_parameters, selector_support
from retrieval_service.engine.index.vector_index import Pool
from twostage.bundle.manifest import IndexEntry
from twostage.bundle.row_set import RowSet

_GRAPH_SELECTIVITY = 0.2
"""Below this a graph search wanders through rows that may not be found; measured recall is .76 at a tenth."""

_HALF = 0.5
"""Below this selectivity reading the rows that a selector leaves one by one beats scanning a flat index."""

_SPARE = 32
"""How many more are searched for, so that rows that tie with the last one wanted are seen. Short codes tie often: of
searches for 700 of 200,000 in fast-scan codes seven in eight tie at the edge, with 12 more rows at most; the spare ones
cost nothing that can be measured."""

_MORE = 4
"""How many times as many are searched for when more tie than are spare."""


OnSearch = Callable[[str], None]
"""Told how each search was done: one of :data:`SEARCH_WAYS`."""

SEARCH_WAYS = ("index", "probe", "lists", "scan", "exhaustive", "widened")
"""``index``: the index as measured, perhaps a little deeper. ``probe``: its lists, more of them, under a filter.
``lists``: exactly those allowed rows that lie in the lists. ``scan``: exactly all allowed rows. ``exhaustive``: the
same because a first search found too few. ``widened``: once more for more rows, because too many tied, beside its own.
"""


class FaissPart:
    """A FAISS index over a stretch of rows; implements :class:`PartialIndex`, safe to search from several threads.

    How a search under a selector is done rests on what all shards know alike, never on what this one finds:

    - hardly any rows are excluded: as without a selector, deeper by as many, the selector inside the search;
    - else the lists to be looked at are reckoned (:class:`CoarseLists`), and what costs least, as measured, is done:
      probing them with the selector inside, scanning exactly those allowed rows that lie in them, or scanning all
      allowed rows.

    An index that ignores or refuses selectors is searched for more, and what it finds is sieved.

    Args:
        index: The FAISS index, inner product.
        entry: What the manifest says of it.
        item_vectors: float32[N, D], of the whole catalogue.
        rows: The rows that it holds; an inverted file's ids are rows, others count from the first of them.
        lists: The inverted lists as all shards know them; None for an index without.
        on_search: Told how each search was done; nobody is when None.
    """

    def __init__(
        self,
        index: Any,
        entry: IndexEntry,
        item_vectors: NDArray[np.float32],
        rows: range,
        lists: CoarseLists | None,
        on_search: OnSearch | None = None,
    ) -> None:
        self._tell: OnSearch = on_search if on_search is not None else _tell_nobody
        self._index = index
        self._entry = entry
        self._item_vectors = item_vectors
        self._rows = rows
        self.lists = lists
        self._measured_at = entry.recall_at or 1
        self._is_inverted = isinstance(index, faiss.IndexIVF)
        # Searches only read them, so that threads share them.
        self._plain_parameters: dict[int, tuple[Any, Any]] = {}
        self._latest_selected: tuple[RowSet, dict[str, int], tuple[Any, Any]] | None = None
        self.selector_support = (
            SelectorSupport.HONOURED
            if len(rows) < 2
            else selector_support(index, np.array(item_vectors[rows.start]), len(item_vectors), **self._asked(1, 1.0))
        )

    def pool(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None, *, exhaustive: bool = False
    ) -> Pool:
        """As :meth:`PartialIndex.pool`.

        Raises:
            ValueError: The vector has another length than the items'.
        """
        if vector.shape != self._item_vectors.shape[1:]:
            # FAISS reads by bare pointers and would read past the end.
            raise ValueError(f"vector: expected shape {self._item_vectors.shape[1:]}, received {vector.shape}")
        if exhaustive or (selector is not None and not len(selector)):
            self._tell("exhaustive")
            return self._scan(vector, self._own(selector), count)
        excluded_count = 0 if selector is None else len(self._item_vectors) - len(selector)
        if selector is None or excluded_count <= count:
            # At the worst all that may not be found is what would have been found.
            self._tell("index")
            return self._search(vector, count, selector, **self._asked(count + excluded_count, 1.0))
        if self.lists is None:
            selectivity = len(selector) / len(self._item_vectors)
            least = _GRAPH_SELECTIVITY if self._entry.family == "hnsw" else _HALF
            self._tell("scan" if selectivity < least else "index")
            if selectivity < least:
                return self._scan(vector, self._own(selector), count)
            return self._search(vector, count, selector, **self._asked(count, selectivity))
        reach = self.lists.reach(vector, count, selector)
        if reach.way is Way.PROBE:
            self._tell("probe")
            least_probes = self._asked(count, 1.0)["nprobe"]
            return self._search(vector, count, selector, nprobe=max(least_probes, reach.list_count))
        self._tell("scan" if reach.way is Way.SCAN else "lists")
        rows = self._own(selector)
        return self._scan(vector, rows if reach.way is Way.SCAN else self.lists.listed(reach, rows), count)

    def _asked(self, count: int, selectivity: float) -> dict[str, int]:
        """How deep to search for ``count`` rows: as measured, in proportion deeper for more."""
        depth = max(1.0, count / self._measured_at) / selectivity
        if self._entry.family == "hnsw":
            return {"efSearch": max(count, math.ceil((self._entry.ef_search or count) * depth))}
        if self._is_inverted:
            return {"nprobe": min(int(self._index.nlist), math.ceil((self._entry.probe_count or 1) * depth))}
        return {}

    def _own(self, selector: RowSet | None) -> NDArray[np.uint32]:
        """This part's rows that a selector leaves."""
        if selector is None:
            return np.arange(self._rows.start, self._rows.stop, dtype=np.uint32)
        rows = selector.rows
        if len(self._rows) == len(self._item_vectors):
            return rows
        first, end = np.searchsorted(rows, [self._rows.start, self._rows.stop])
        return rows[first:end]

    def _scan(self, vector: NDArray[np.float32], rows: NDArray[np.uint32], count: int) -> Pool:
        return Pool(rows, inner_products(self._item_vectors, rows, vector), None, count)

    def _search(self, vector: NDArray[np.float32], count: int, selector: RowSet | None, **asked: int) -> Pool:
        """One search of the index; fewer than wanted when the probed lists hold fewer."""
        pool_count = math.ceil(count * self._entry.pool_factor)
        sieved = selector is not None and self.selector_support is not SelectorSupport.HONOURED
        wanted = pool_count + _SPARE
        if sieved:
            assert selector is not None
            wanted = min(len(self._rows), math.ceil(1.2 * pool_count * selector.item_count / len(selector)) + 64)
        parameters, kept = self._parameters(None if sieved else self._local(selector), asked)
        # Requests run side by side; a search that takes several threads would slow the others down. OpenMP keeps
        # this number for each calling thread.
        faiss.omp_set_num_threads(1)
        query = np.ascontiguousarray(vector, np.float32)
        rows, code_keys = self._nearest(query, wanted, parameters)
        while not sieved and len(rows) == wanted and code_keys[-1] == code_keys[pool_count - 1]:
            self._tell("widened")
            wanted *= _MORE
            rows, code_keys = self._nearest(query, wanted, parameters)
        del kept
        if self._first_id:
            rows += self._first_id
        narrow = rows.astype(np.uint32)
        if sieved:
            assert selector is not None
            inside = selector.has(narrow)
            narrow, code_keys = narrow[inside], code_keys[inside]
        narrow, code_keys = _cut(narrow, code_keys, pool_count)
        if self._entry.family == "exact":
            return Pool(narrow, code_keys, None, count)
        return Pool(narrow, inner_products(self._item_vectors, narrow, vector), code_keys, pool_count)

    def _parameters(self, selector: RowSet | None, asked: dict[str, int]) -> tuple[Any, Any]:
        """Search parameters and what must outlive the search; those without a selector are made once.

        A person of several interests is searched for several times under one selector, so the latest are kept: making
        them costs a tenth of a search of 10,000 rows. Threads that take turns here each make their own.
        """
        if selector is not None:
            latest = self._latest_selected
            if latest is not None and latest[0] is selector and latest[1] == asked:
                return latest[2]
            parameters = search_parameters(self._index, selector, **asked)
            self._latest_selected = (selector, asked, parameters)
            return parameters
        key = next(iter(asked.values()), 0)
        known = self._plain_parameters.get(key)
        if known is None:
            known = self._plain_parameters[key] = search_parameters(self._index, None, **asked)
        return known

    def _nearest(
        self, query: NDArray[np.float32], wanted: int, parameters: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The index's own ids and keys, the highest first, without padding."""
        keys = np.empty((1, wanted), np.float32)
        found = np.empty((1, wanted), np.int64)
        self._index.search_c(1, faiss.swig_ptr(query), wanted, faiss.swig_ptr(keys), faiss.swig_ptr(found), parameters)
        if found[0, -1] >= 0:
            return found[0], keys[0]
        present = found[0] >= 0
        return found[0, present], keys[0, present]

    @property
    def _first_id(self) -> int:
        """What is added to the index's ids to make rows of them."""
        return 0 if self._is_inverted else self._rows.start

    def _local(self, selector: RowSet | None) -> RowSet | None:
        """A selector of the index's own ids."""
        if selector is None or not self._first_id:
            return selector
        words = selector.words[self._rows.start // 64 :]
        return RowSet(words, selector.item_count - self._rows.start)


def _tell_nobody(_way: str) -> None:
    """Takes how a search was done, where nobody wants to know."""


def _cut(
    rows: NDArray[np.uint32], keys: NDArray[np.float32], count: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The first ``count`` by falling keys; of those that tie with the last one the lowest rows.

    FAISS keeps any of those that tie, other ones of a shard than of the whole.

    Args:
        rows: uint32[M].
        keys: float32[M], falling.
        count: How many, 1 or more.
    """
    if len(rows) <= count:
        return rows, keys
    edge = keys[count - 1]
    if keys[count] == edge:
        # Falling keys: what ties stands together.
        first, end = np.count_nonzero(keys > edge), np.count_nonzero(keys >= edge)
        rows[first:end].sort()
    return rows[:count], keys[:count]
