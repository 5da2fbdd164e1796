"""Brings the item vectors of a generation into Milvus."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pymilvus import DataType, MilvusClient

from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import (
    METRIC,
    ROW_FIELD,
    VECTOR_FIELD,
    Collection,
    count_rows,
    describe_index,
    is_loaded,
)
from twostage.bundle.errors import BundleCorrupt

IndexKind = Literal["IVF_FLAT", "IVF_SQ8", "HNSW", "FLAT"]
INDEX_KINDS: tuple[IndexKind, ...] = ("IVF_FLAT", "IVF_SQ8", "HNSW", "FLAT")
"""Index types that clusters and milvus-lite both have."""

Progress = Callable[[str, int, int], None]
"""Told what is done now, how much of it is done, and how much there is; 0 of 0 when nobody knows."""

_BATCH_BYTES = 8 << 20
"""Well below what Milvus and its message queues take at once."""
_SEGMENT_BYTES = 1 << 30
"""Milvus's segments, each indexed for itself, hold so much by default."""
_POINTS_PER_LIST = 39
"""With fewer, a list's centroid says little; FAISS, which Milvus uses, warns."""
_WAIT_SECONDS = 4 * 3600.0
"""Flushing, indexing and loading take as long as the catalogue is large."""
_CALL_SECONDS = 120.0


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args:
        collection: The collection's name.
        item_count: How many vectors it holds.
        inserted_count: How many of them were inserted now; 0 when all were there.
        kind: How it is indexed.
    """

    collection: str
    item_count: int
    inserted_count: int
    kind: str


def push(
    client: Any,
    address: MilvusAddress,
    collection: Collection,
    *,
    kind: IndexKind = "IVF_FLAT",
    replace: bool = False,
    batch_rows: int | None = None,
    progress: Progress = lambda *_: None,
) -> Pushed:
    """Makes a collection hold its vectors, indexed, loaded and verified; what is there already stays.

    A push that was cut short is completed by the next one.

    Args:
        client: As :func:`retrieval_service.milvus.connection.connect` makes it.
        address: Which Milvus, for errors.
        collection: What to push.
        kind: The index type of a collection that has none yet.
        replace: True drops a collection of that name first.
        batch_rows: How many vectors are inserted at once; some megabytes by default.
        progress: Told how far it is.

    Raises:
        BundleCorrupt: A collection of that name has another form, or holds something else in the end.
        NotReady: Milvus fails.
    """
    name = collection.name
    item_count, dimension = collection.vectors.shape
    batch_rows = batch_rows or max(1, _BATCH_BYTES // (4 * dimension))
    there = bool(client.has_collection(name))
    if there and replace:
        client.drop_collection(name, timeout=_CALL_SECONDS)
        there = False
    inserted_count = 0
    if there:
        collection.check_form(client, address.uri)
        _index_and_load(client, collection, kind, progress)
        if count_rows(client, name) != item_count:
            inserted_count = _complete(client, collection, batch_rows, progress)
    else:
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(ROW_FIELD, DataType.INT64, is_primary=True)
        schema.add_field(VECTOR_FIELD, DataType.FLOAT_VECTOR, dim=dimension)
        client.create_collection(name, schema=schema, consistency_level="Bounded", timeout=_CALL_SECONDS)
        for first, end in _batches(item_count, batch_rows):
            progress("inserting", first, item_count)
            _insert(client, collection, first, end)
        progress("inserting", item_count, item_count)
        inserted_count = item_count
    if inserted_count:
        progress("flushing", 0, 0)
        client.flush(name, timeout=_WAIT_SECONDS)
        _index_and_load(client, collection, kind, progress)
    progress("verifying", 0, 0)
    index = collection.check(client, address.uri)
    return Pushed(name, item_count, inserted_count, index.kind)


def drop_earlier(client: Any, collection: Collection) -> list[str]:
    """Drops what earlier generations of the same prefix and tower left, but for the newest of them.

    Services hold the current and the previous generation, so one earlier generation stays; other collections of the
    same generation, left by a generation that was published anew, go.

    Args:
        client: A ``pymilvus.MilvusClient``.
        collection: The newest one, which stays.

    Returns:
        The names of those that were dropped.

    Raises:
        ValueError: The name is not one that ``collection_name`` makes.
    """
    form = re.compile(r"(?P<prefix>.+)_g(?P<generation>\d+)_(?P<tower>.+)_[0-9a-f]{12}")
    own = form.fullmatch(collection.name)
    if own is None:
        raise ValueError(f"collection: expected a name of a generation's collection, received {collection.name!r}")
    others: dict[str, int] = {}
    for name in client.list_collections():
        match = form.fullmatch(name)
        if match and (match["prefix"], match["tower"]) == (own["prefix"], own["tower"]) and name != collection.name:
            others[name] = int(match["generation"])
    newest = int(own["generation"])
    previous = max((number for number in others.values() if number < newest), default=None)
    dropped = sorted(name for name, number in others.items() if number <= newest and number != previous)
    for name in dropped:
        client.drop_collection(name, timeout=_CALL_SECONDS)
    return dropped


def index_parameters(kind: IndexKind, item_count: int, dimension: int) -> dict[str, int]:
    """Parameters of an index by Milvus's names.

    An inverted file has four times the square root of a segment's vectors as lists, as ours have, a graph 32
    neighbours.

    Args:
        kind: The index type.
        item_count: How many vectors there are.
        dimension: Their dimension.
    """
    segment_rows = max(1, min(item_count, _SEGMENT_BYTES // (4 * dimension)))
    if kind.startswith("IVF"):
        return {"nlist": max(1, min(round(4 * segment_rows**0.5), segment_rows // _POINTS_PER_LIST, 65_536))}
    if kind == "HNSW":
        return {"M": 32, "efConstruction": 200}
    return {}


def _index_and_load(client: Any, collection: Collection, kind: IndexKind, progress: Progress) -> None:
    if describe_index(client, collection.name) is None:
        progress("indexing", 0, 0)
        chosen = MilvusClient.prepare_index_params()
        parameters = index_parameters(kind, *collection.vectors.shape)
        chosen.add_index(VECTOR_FIELD, index_type=kind, metric_type=METRIC, params=parameters)
        client.create_index(collection.name, chosen, timeout=_WAIT_SECONDS)
    if not is_loaded(client, collection.name):
        progress("loading", 0, 0)
        client.load_collection(collection.name, timeout=_WAIT_SECONDS)


def _complete(client: Any, collection: Collection, batch_rows: int, progress: Progress) -> int:
    """Puts right the batches that do not hold each row once, and what lies outside; returns how many it inserted."""
    item_count = len(collection.vectors)
    client.delete(collection.name, filter=f"{ROW_FIELD} < 0", timeout=_CALL_SECONDS)
    client.delete(collection.name, filter=f"{ROW_FIELD} >= {item_count}", timeout=_CALL_SECONDS)
    inserted_count = 0
    for first, end in _batches(item_count, batch_rows):
        progress("completing", first, item_count)
        if count_rows(client, collection.name, first, end) == end - first:
            continue
        chosen = f"{ROW_FIELD} >= {first} and {ROW_FIELD} < {end}"
        client.delete(collection.name, filter=chosen, timeout=_CALL_SECONDS)
        _insert(client, collection, first, end)
        inserted_count += end - first
    progress("completing", item_count, item_count)
    return inserted_count


def _insert(client: Any, collection: Collection, first: int, end: int) -> None:
    batch = collection.vectors[first:end]
    rows = [{ROW_FIELD: first + number, VECTOR_FIELD: vector} for number, vector in enumerate(batch)]
    answer = client.insert(collection.name, rows, timeout=_CALL_SECONDS)
    if int(answer["insert_count"]) != len(rows):
        raise BundleCorrupt(collection.name, f"{len(rows)} rows inserted", f"{answer['insert_count']}")


def _batches(item_count: int, batch_rows: int) -> Iterator[tuple[int, int]]:
    for first in range(0, item_count, batch_rows):
        yield first, min(first + batch_rows, item_count)
