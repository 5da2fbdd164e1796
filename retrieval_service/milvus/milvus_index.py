"""A collection of Milvus behind the engine's protocol."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.index.exact_scan import exact_scan, inner_products
from retrieval_service.milvus import local_server
from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import ROW_FIELD, Collection, IndexForm
from retrieval_service.milvus.connection import connect
from retrieval_service.milvus.search_calls import MAX_LIMIT, SearchCalls, search_depth
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.row_set import RowSet
from twostage.candidates.source_list import best_first
from twostage.errors import NotReady


@dataclass(frozen=True)
class SearchPlan:
    """Between the ways of searching under a selector.

    Args:
        timeout_seconds: How long one search may wait for Milvus, all its calls together.
        effort: Multiplies how thoroughly Milvus searches, see
            :func:`retrieval_service.milvus.search_calls.search_depth`.
        scan_rows: Up to how many rows that a selector leaves are scanned here rather than searched for. Twice as
            many took 24 ms on one busy core, of 500,000 vectors of 128 dimensions.
        named_rows: Up to how many excluded rows are named in the condition of a search.
        surplus: Rows are excluded here, after a search without a condition, while that asks for at most so many times
            as many rows as are wanted.
    """

    timeout_seconds: float = 0.25
    effort: float = 1.0
    scan_rows: int = 16_384
    named_rows: int = 8_192
    surplus: float = 4.0


class MilvusIndex:
    """The item vectors of one generation in Milvus; safe to search from several threads.

    Milvus finds rows; which of them may be answered, and in which order, is decided here: rows that the selector does
    not have and repeats are dropped, and inner products are computed with the item vectors. What Milvus found too few
    of is asked for again with more surplus, and scanned for at last, so that exactly as many come as were asked for.

    Args:
        calls: Searches of the collection.
        collection: What it holds.
        index: How it is indexed.
        plan: How selectors are met.
        local: The address to release at the end when it is a file's; None for a cluster.
    """

    def __init__(
        self,
        calls: SearchCalls,
        collection: Collection,
        index: IndexForm,
        plan: SearchPlan,
        local: MilvusAddress | None = None,
    ) -> None:
        self._calls = calls
        self._collection = collection
        self._item_vectors = collection.vectors
        self._index = index
        self._plan = plan
        self._local = local

    @classmethod
    def open(
        cls, address: MilvusAddress, collection: Collection, *, plan: SearchPlan | None = None, wait_seconds: float = 10
    ) -> Self:
        """Connects, and holds the collection against the item vectors.

        A collection in a local file is loaded, since its server ends with the process that loaded it.

        Args:
            address: Which Milvus.
            collection: The collection and the item vectors that it must hold.
            plan: How selectors are met and how long a search may take; the defaults when None.
            wait_seconds: How long connecting may take.

        Raises:
            BundleCorrupt: There is no such collection, or it is not indexed, not loaded, of another dimension, metric
                or size, or holds other vectors.
            NotReady: Milvus cannot be reached, refuses the token, or fails.
        """
        if address.path is not None and not address.path.exists():
            raise BundleCorrupt(address.path, "a database of milvus-lite", "no file")
        with connect(address, timeout_seconds=wait_seconds) as client:
            if address.path is not None:
                collection.check_form(client, address.uri)
                client.load_collection(collection.name)
            index = collection.check(client, address.uri)
            target = address.target if address.path is None else local_server.start(address.path)
        local = address if address.path is not None else None
        calls = SearchCalls(address, target, collection.name)
        return cls(calls, collection, index, plan or SearchPlan(), local)

    @property
    def kind(self) -> str:
        """Milvus's name of the index type, e.g. ``IVF_FLAT``."""
        return self._index.kind

    def search(
        self, vector: NDArray[np.float32], count: int, selector: RowSet | None
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """As :meth:`retrieval_service.engine.index.vector_index.VectorIndex.search`.

        Raises:
            NotReady: Milvus cannot be reached, fails, takes too long, or answers rows that the catalogue has not.
        """
        item_count = len(self._item_vectors)
        allowed_count = item_count if selector is None else len(selector)
        count = min(count, allowed_count)
        if count <= 0:
            return np.empty(0, np.uint32), np.empty(0, np.float32)
        if allowed_count < item_count and allowed_count <= self._plan.scan_rows:
            return exact_scan(self._item_vectors, vector, count, selector)
        limit, expression = self._first_search(count, selector, item_count - allowed_count)
        ends = time.monotonic() + self._plan.timeout_seconds
        while limit <= MAX_LIMIT:
            rows = self._find(vector, limit, expression, selector, ends - time.monotonic())
            if len(rows) >= count:
                scores = inner_products(self._item_vectors, rows, vector)
                order = best_first(rows, scores, count)
                return rows[order], scores[order]
            if limit >= min(MAX_LIMIT, item_count) or time.monotonic() >= ends:
                break
            limit = min(2 * limit, MAX_LIMIT)
        return exact_scan(self._item_vectors, vector, count, selector)

    def close(self) -> None:
        """Closes the connection; searches under way and later ones fail as NotReady."""
        self._calls.close()
        if self._local is not None and self._local.path is not None:
            local_server.stop(self._local.path)
            self._local = None

    def _first_search(self, count: int, selector: RowSet | None, excluded_count: int) -> tuple[int, str]:
        """How many rows are asked for, and under which condition; more than can be asked for where a scan is better."""
        if selector is None or not excluded_count:
            return count, ""
        # However near the excluded rows are, so many hold enough others.
        certain = count + excluded_count
        if certain <= min(MAX_LIMIT, self._plan.surplus * count):
            return certain, ""
        if excluded_count <= self._plan.named_rows:
            named = ",".join(map(str, (RowSet.all_rows(selector.item_count) - selector).rows.tolist()))
            return count, f"{ROW_FIELD} not in [{named}]"
        # As many as hold enough of those that are left, were these anywhere, and some more.
        return math.ceil(1.25 * count * selector.item_count / len(selector)) + 32, ""

    def _find(
        self,
        vector: NDArray[np.float32],
        limit: int,
        expression: str,
        selector: RowSet | None,
        timeout_seconds: float,
    ) -> NDArray[np.uint32]:
        """Rows near the vector that the selector has, distinct, in no order."""
        item_count = len(self._item_vectors)
        depth = search_depth(self._index, limit, item_count, self._plan.effort)
        found = np.unique(self._calls.find(vector, limit, expression, depth, max(timeout_seconds, 1e-3)))
        if len(found) and (found[0] < 0 or found[-1] >= item_count):
            strange = int(found[0] if found[0] < 0 else found[-1])
            raise NotReady(
                "the vector database answers rows that the catalogue has not",
                f"{self._collection.name}: expected rows 0 to {item_count - 1}, received {strange}",
            )
        rows = found.astype(np.uint32)
        return rows if selector is None else selector.keep(rows)
