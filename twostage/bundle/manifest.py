"""The manifest: what a generation holds, how it was made and what was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twostage.bundle.errors import BundleCorrupt, BundleUnsupported
from twostage.features.actions import Action, ActionSchema

FORMAT_VERSION = 1
"""The bundle format that this program writes and reads."""

MANIFEST_NAME = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class FileEntry(_Part):
    """A file's sha256 (hex) and size in bytes."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    byte_count: int = Field(ge=0)


class ActionEntry(_Part):
    """An action as in twostage.features.actions.Action."""

    name: str
    source: str
    min_value: float | None = None
    taste: bool = True
    weight: float = Field(default=1.0, ge=0)


class SchemaEntry(_Part):
    """A feature schema as in twostage.features.schema.FeatureSchema."""

    title: str
    text: list[str]
    categorical: list[str] = []
    numeric: list[str] = []
    multi_valued: list[str] = []
    image: str | None = None


IndexFamily = Literal["exact", "ivf", "ivf_pq", "hnsw", "rabitq"]
"""How an index finds: every inner product; inverted lists of scalar, product or bit codes; a graph."""


class FrontierEntry(_Part):
    """One way of searching that was measured: what it finds, how long it takes, what it holds in memory."""

    family: IndexFamily
    factory: str
    probe_count: int | None = None
    pool_factor: float = 1.0
    ef_search: int | None = None
    recall: float
    median_ms: float
    bytes_per_item: float
    chosen: bool = False


class FilteredEntry(_Part):
    """What a search under one kind of filter was measured to find, and how long it takes."""

    kind: str
    selectivity: float
    recall: float
    median_ms: float


class IndexEntry(_Part):
    """An index and what was measured when it was chosen.

    ``recall`` is the share of the exact ``recall_at`` nearest items found, over held-out user vectors. ``files`` are
    the shards in order, none when ``file`` holds all; shard i of S holds the rows from 64 ⌊i ⌈N / 64⌉ / S⌋ up to where
    the next begins. ``row_lists`` is uint16 or uint32[N], each row's inverted list; ``queries`` float32[Q, D], the user
    vectors that it was measured with. ``probe_count`` lists are searched for ``recall_at`` items, ``pool_factor`` times
    the items asked for pass from the codes' order to the exact one. ``spread`` is the standard deviation of a row's
    inner product around its list's centre's, ``coverage`` the part of the wanted rows that the lists looked at under a
    filter are expected to bring, ``filtered`` what was measured with it. ``costs_ns`` are nanoseconds for each row:
    ``code`` in a probed list, ``listed`` of a filter's rows ranked by their lists, ``exact`` inner product.
    """

    family: IndexFamily
    factory: str
    file: str
    files: list[str] = []
    row_lists: str | None = None
    queries: str | None = None
    probe_count: int | None = None
    pool_factor: float = Field(default=1.0, ge=1)
    ef_search: int | None = None
    spread: float | None = None
    coverage: float | None = None
    filtered: list[FilteredEntry] = []
    costs_ns: dict[str, float] = {}
    recall: float | None = None
    recall_at: int | None = None
    recall_target: float | None = None
    median_ms: float | None = None
    bytes_per_item: float | None = None
    frontier: list[FrontierEntry] = []

    @property
    def shard_files(self) -> list[str]:
        """The files that hold the index, by shard."""
        return self.files or [self.file]


class TowerEntry(_Part):
    """A retrieval tower; paths are relative to the generation.

    ``representatives`` is uint32[R], rows that stand for the catalogue's clusters, in the order in which a person of
    whom nothing is known is shown them. ``tags`` is a folder with ``vocabulary/`` (an id table of T tags) and
    ``vectors.npy``, float32[T, D], L2-normalised. ``source_shares`` is the part of the candidates, from 0 to 1, that a
    source other than the leading one gets where a request states no quotas, by its lower-case name.
    """

    dimension: int = Field(gt=0)
    metric: Literal["inner_product"] = "inner_product"
    history_length: int = Field(gt=0)
    item_vectors: str
    user_tower: str
    index: IndexEntry
    representatives: str | None = None
    tags: str | None = None
    source_shares: dict[str, float] = {}


class RowsEntry(_Part):
    """A ranker's signature that reads rows in place of features; ``output`` and ``actions`` are the ranker's."""

    signature: str
    inputs: list[str]


class RankerEntry(_Part):
    """A ranker; paths are relative to the generation, ``model`` is a folder of ``models/`` beside it.

    ``by_row`` is for a model that holds the items' features itself; rankers without are served by value.
    """

    model: str
    signature: str = "serving_default"
    inputs: list[str]
    output: str = "action_scores"
    actions: list[str] = Field(min_length=1)
    candidate_table: str
    history_table: str | None = None
    blend: dict[str, float]
    by_row: RowsEntry | None = None


class OrdersEntry(_Part):
    """Orders of items beside popularity, uint32[M] files relative to the generation; none where there are no times.

    ``trending`` lists rows by decayed counts, the highest first, without those that nobody acted on lately;
    ``arrivals`` the rows whose first interaction or stated time of arrival is known, the newest first.
    """

    trending: str | None = None
    arrivals: str | None = None


class SourceEntry(_Part):
    """What a generation was trained on.

    ``has_times`` is false when nobody knows when the interactions happened: the models then saw no time at all.
    """

    name: str
    fingerprint: str
    user_count: int = 0
    interaction_count: int = 0
    has_times: bool = True


class Manifest(_Part):
    """Everything about a generation that is not an array.

    ``files`` are relative to the generation, ``model_files`` to the store. ``checksum`` is the sha256 of the
    manifest's own canonical JSON without that field.
    """

    format_version: int = FORMAT_VERSION
    generation: int = Field(gt=0)
    created_at: str
    item_count: int = Field(gt=0)
    recorded_actions: list[str]
    actions: list[ActionEntry] = Field(min_length=1)
    feature_schema: SchemaEntry
    attributes: dict[str, Literal["values", "number"]]
    towers: dict[str, TowerEntry] = Field(min_length=1)
    default_tower: str
    rankers: dict[str, RankerEntry] = Field(min_length=1)
    default_ranker: str
    source: SourceEntry
    orders: OrdersEntry = OrdersEntry()
    metrics: dict[str, Any] = {}
    training: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    files: dict[str, FileEntry] = {}
    model_files: dict[str, FileEntry] = {}
    checksum: str = ""

    @property
    def action_schema(self) -> ActionSchema:
        """The actions as the feature code reads them."""
        return ActionSchema(tuple(Action(**entry.model_dump()) for entry in self.actions))

    @property
    def tower(self) -> TowerEntry:
        """The default tower."""
        return self.towers[self.default_tower]

    @property
    def ranker(self) -> RankerEntry:
        """The default ranker."""
        return self.rankers[self.default_ranker]


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps({**document, "checksum": ""}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Writes ``manifest.json`` into ``folder`` and returns it with its checksum."""
    document = manifest.model_dump(mode="json")
    document["checksum"] = _checksum(document)
    (folder / MANIFEST_NAME).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Manifest.model_validate(document)


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks ``manifest.json`` of a generation's folder.

    Raises:
        BundleCorrupt: It is absent, no JSON, altered, or lacks a field.
        BundleUnsupported: It has another format version.
    """
    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BundleCorrupt(path, "a manifest", "no file (half-written?)") from None
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: Path | str) -> Manifest:
    """Reads and checks a manifest's bytes; ``path`` names them in errors.

    Raises:
        BundleCorrupt: They are no JSON, altered, or lack a field.
        BundleUnsupported: They are of another format version.
    """
    try:
        document = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise BundleCorrupt(path, "JSON in UTF-8", str(error)) from error
    if not isinstance(document, dict):
        raise BundleCorrupt(path, "a JSON object", type(document).__name__)
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleUnsupported(f"{path}: this program reads format version {FORMAT_VERSION}, found {version!r}")
    if document.get("checksum") != _checksum(document):
        raise BundleCorrupt(path, f"checksum {document.get('checksum')!s:.12}…", f"{_checksum(document)[:12]}…")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleCorrupt(path, f"{where}: {first['msg']}", repr(first["input"])[:80]) from error
