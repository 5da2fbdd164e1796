"""The collection that holds a generation's item vectors: its name, its form, and whether it is what it should be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType
from pymilvus.client.types import LoadState

from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.generation import Generation

ROW_FIELD = "row"
VECTOR_FIELD = "vector"
METRIC = "IP"
DEFAULT_PREFIX = "twostage"

_FINGERPRINT_CHARS = 12
_PROBED_ROWS = 3
_DEFAULT_LIST_COUNT = 128
"""What Milvus takes where an inverted file's number of lists is not stated."""


def collection_name(generation: int, tower: str, vectors_sha256: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Names the collection of a generation's tower.

    The vectors' own sum is part of the name, so that the collection of another generation, or of a generation that
    was published anew under the same number, can never be taken for it.

    Args:
        generation: The generation.
        tower: The tower's name.
        vectors_sha256: The sum of the file of item vectors, hex, as the manifest has it.
        prefix: Begins with a letter; letters, digits and underscores. One for each store that shares a Milvus.

    Returns:
        Letters, digits and underscores, at most 255: what Milvus allows.
    """
    plain = re.sub(r"[^0-9A-Za-z_]", "_", tower)[:100]
    return f"{prefix}_g{generation}_{plain}_{vectors_sha256[:_FINGERPRINT_CHARS]}"


@dataclass(frozen=True)
class Collection:
    """What a collection should be.

    Args:
        name: As :func:`collection_name` makes it.
        vectors: float32[N, D], what it should hold: row r under the primary key r.
    """

    name: str
    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, generation: Generation, tower: str | None = None, prefix: str = DEFAULT_PREFIX) -> Self:
        """The collection of a tower of a generation.

        Args:
            generation: The generation.
            tower: The tower's name; None for the default one.
            prefix: As for :func:`collection_name`.

        Raises:
            BundleCorrupt: The item vectors are absent or not what the manifest says.
        """
        manifest = generation.manifest
        named = tower or manifest.default_tower
        entry = manifest.towers[named]
        sums = manifest.files.get(entry.item_vectors)
        path = generation.path / entry.item_vectors
        if sums is None:
            raise BundleCorrupt(path, "a sum in the manifest", "none")
        vectors = generation.array(entry.item_vectors, shape=(manifest.item_count, entry.dimension))
        if vectors.dtype != np.float32:
            raise BundleCorrupt(path, "float32", str(vectors.dtype))
        return cls(collection_name(manifest.generation, named, sums.sha256, prefix), vectors)

    def check_form(self, client: Any, where: str) -> None:
        """Makes sure that the collection is there and has the form of ours.

        Args:
            client: A ``pymilvus.MilvusClient``.
            where: The Milvus, for errors.

        Raises:
            BundleCorrupt: There is no such collection, or its primary key, its dimension or its metric differs.
        """
        shown = f"{where}/{self.name}"
        if not client.has_collection(self.name):
            raise BundleCorrupt(shown, "a collection (`twostage index push` makes it)", "none")
        fields = {field["name"]: field for field in client.describe_collection(self.name)["fields"]}
        row, vector = fields.get(ROW_FIELD), fields.get(VECTOR_FIELD)
        if row is None or row["type"] != DataType.INT64 or not row.get("is_primary"):
            raise BundleCorrupt(shown, f"the primary key `{ROW_FIELD}`, INT64", f"fields {sorted(fields)}")
        if vector is None or vector["type"] != DataType.FLOAT_VECTOR:
            raise BundleCorrupt(shown, f"the field `{VECTOR_FIELD}`, FLOAT_VECTOR", f"fields {sorted(fields)}")
        dimension, received = self.vectors.shape[1], int(vector["params"]["dim"])
        if received != dimension:
            raise BundleCorrupt(shown, f"{dimension} dimensions", f"{received}")
        index = describe_index(client, self.name)
        if index is not None and index.metric != METRIC:
            raise BundleCorrupt(shown, f"the metric {METRIC}", index.metric)

    def check(self, client: Any, where: str) -> IndexForm:
        """Makes sure that the collection can be searched and holds the vectors, all of them and no others.

        Args:
            client: A ``pymilvus.MilvusClient``.
            where: The Milvus, for errors.

        Returns:
            Its index.

        Raises:
            BundleCorrupt: As for :meth:`check_form`, or it is not indexed, not loaded, holds another number of rows,
                or other vectors.
        """
        self.check_form(client, where)
        shown = f"{where}/{self.name}"
        index = describe_index(client, self.name)
        if index is None:
            raise BundleCorrupt(shown, "an index of the vectors", "none")
        if not is_loaded(client, self.name):
            raise BundleCorrupt(shown, "a loaded collection", str(client.get_load_state(self.name)["state"]))
        count = count_rows(client, self.name)
        item_count = len(self.vectors)
        if count != item_count:
            raise BundleCorrupt(shown, f"{item_count} rows", f"{count}")
        probed = np.unique(np.linspace(0, item_count - 1, _PROBED_ROWS).astype(np.int64)).tolist()
        found = client.get(self.name, ids=probed, output_fields=[ROW_FIELD, VECTOR_FIELD])
        held = {int(entity[ROW_FIELD]): np.asarray(entity[VECTOR_FIELD], np.float32) for entity in found}
        for row in probed:
            if row not in held:
                raise BundleCorrupt(shown, f"row {row}", "none")
            if not np.allclose(held[row], self.vectors[row], atol=1e-6):
                raise BundleCorrupt(shown, f"the vector of row {row}", "another one")
        return index


@dataclass(frozen=True)
class IndexForm:
    """How a collection is indexed.

    Args:
        kind: Milvus's name of the index type, e.g. ``IVF_FLAT``.
        metric: E.g. ``IP``.
        list_count: How many lists an inverted file has in each segment.
    """

    kind: str
    metric: str
    list_count: int = _DEFAULT_LIST_COUNT


def describe_index(client: Any, name: str) -> IndexForm | None:
    """The index over a collection's vectors; None when there is none."""
    if not client.list_indexes(name, VECTOR_FIELD):
        return None
    described = client.describe_index(name, VECTOR_FIELD) or {}
    inner = described.get("params") or {}
    stated = {**(json.loads(inner) if isinstance(inner, str) else inner), **described}
    return IndexForm(
        kind=str(stated.get("index_type", "")),
        metric=str(stated.get("metric_type", "")),
        list_count=int(stated.get("nlist", _DEFAULT_LIST_COUNT)),
    )


def is_loaded(client: Any, name: str) -> bool:
    """Whether a collection is in the memory of Milvus, where it can be searched."""
    return bool(client.get_load_state(name)["state"] == LoadState.Loaded)


def count_rows(client: Any, name: str, first: int | None = None, end: int | None = None) -> int:
    """How many rows a loaded collection holds, all that was inserted until now.

    Statistics of Milvus count what was deleted as well; a query does not.

    Args:
        client: A ``pymilvus.MilvusClient``.
        name: The collection.
        first: The first row that counts; None counts all.
        end: The row past the last that counts.
    """
    chosen = "" if first is None else f"{ROW_FIELD} >= {first} and {ROW_FIELD} < {end}"
    answer = client.query(name, filter=chosen, output_fields=["count(*)"], consistency_level="Strong")
    return int(answer[0]["count(*)"])
