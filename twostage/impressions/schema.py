"""The columns of the log's files and how they are stored."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

VERSION = 1
"""Of the columns. Columns may be added within a version; one that changes its meaning makes a new one."""

IMPRESSIONS = "impressions"
"""The kind of log that holds answers."""
EVENTS = "events"
"""The kind of log that holds what people did."""

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())
_ROWS = pa.list_(pa.uint32())
_PLACES = pa.list_(pa.int32())

IMPRESSION_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("time", _TIME),
        ("user_key", pa.string()),
        ("generation", pa.int64()),
        ("rung", pa.string()),
        ("rung_reason", pa.string()),
        ("ranker", pa.string()),
        ("experiments", _TEXTS),
        ("arms", _TEXTS),
        ("asked_count", pa.int32()),
        ("candidate_count", pa.int32()),
        ("surface", pa.string()),
        ("device", pa.string()),
        ("locale", pa.string()),
        ("context_time", pa.int64()),
        ("context_attributes", pa.string()),
        ("interest_tags", _TEXTS),
        ("filter", pa.string()),
        ("include_seen", pa.bool_()),
        ("asked_ranker", pa.string()),
        ("blend", pa.string()),
        ("diversity_strength", pa.float64()),
        ("diversity_caps", pa.string()),
        ("pinned_rows", _ROWS),
        ("source_quotas", pa.string()),
        ("exploration_epsilon", pa.float64()),
        ("exploration_share", pa.float64()),
        ("exploration_pool_count", pa.int32()),
        ("overrides", pa.string()),
        ("rivals", pa.string()),
        ("explain", pa.bool_()),
        ("trace", pa.bool_()),
        ("history_rows", _ROWS),
        ("history_actions", _TEXTS),
        ("history_values", pa.list_(pa.float32())),
        ("history_times", pa.list_(pa.int64())),
        ("excluded_rows", _ROWS),
        ("unknown_item_count", pa.int32()),
        ("candidates_found", pa.int32()),
        ("candidates_hash", pa.int64()),
        ("ranked_count", pa.int32()),
        ("candidate_rows", _ROWS),
        ("candidate_scores", pa.list_(pa.float32())),
        ("item_ids", _TEXTS),
        ("rows", pa.list_(pa.int64())),
        ("scores", pa.list_(pa.float64())),
        ("sources", _TEXTS),
        ("candidate_ranks", _PLACES),
        ("retrieval_scores", pa.list_(pa.float32())),
        ("ranking_ranks", _PLACES),
        ("ranking_positions", _PLACES),
        ("propensities", pa.list_(pa.float64())),
        ("teams", _TEXTS),
        ("actions", _TEXTS),
        ("action_scores", pa.list_(pa.float32())),
        ("missing_count", pa.int32()),
        ("missing_reason", pa.string()),
    ]
)
"""One row for each answer: what is the same for all of its items is stored once, and an answer is read in one go."""

EVENT_SCHEMA = pa.schema(
    [
        ("event_key", pa.string()),
        ("request_id", pa.string()),
        ("user_key", pa.string()),
        ("item_id", pa.string()),
        ("action", pa.string()),
        ("value", pa.float64()),
        ("time", _TIME),
    ]
)
"""One row for each event."""

SCHEMAS = {IMPRESSIONS: IMPRESSION_SCHEMA, EVENTS: EVENT_SCHEMA}
"""By the kind of log."""

# Near to what stands before: differences of a few bits are stored instead.
_ASCENDING = ("excluded_rows", "history_times", "time")
# Nearly every value occurs once, so a dictionary of them is of no use; their bytes by place compress.
_SINGULAR = ("scores", "retrieval_scores", "candidate_scores", "action_scores")
_IDS = ("request_id", "event_key")

_KIND, _VERSION, _SECRET = b"twostage.log", b"twostage.log.version", b"twostage.log.secret"


def file_metadata(kind: str, secret_fingerprint: str) -> dict[bytes, bytes]:
    """What a file says of itself.

    Args:
        kind: ``impressions`` or ``events``.
        secret_fingerprint: Of the secret behind its user keys; empty when there is none.
    """
    return {_KIND: kind.encode(), _VERSION: str(VERSION).encode(), _SECRET: secret_fingerprint.encode()}


def read_metadata(metadata: dict[bytes, bytes] | None) -> tuple[str, str, str]:
    """The kind, the version and the secret's fingerprint that a file tells; empty where it does not."""
    told = metadata or {}
    kind, version, secret = (told.get(key, b"").decode("utf-8", "replace") for key in (_KIND, _VERSION, _SECRET))
    return kind, version, secret


def writer_options(kind: str) -> dict[str, Any]:
    """How a file of a kind is stored, as arguments of ``pyarrow.parquet.ParquetWriter``."""
    leaves = {field.name: _leaf(field) for field in SCHEMAS[kind]}
    encodings = {leaf: "DELTA_BINARY_PACKED" for name, leaf in leaves.items() if name in _ASCENDING}
    encodings |= {leaf: "BYTE_STREAM_SPLIT" for name, leaf in leaves.items() if name in _SINGULAR}
    # Texts repeat. Dictionaries of numbers take longer to make and save nothing behind the compression.
    texts = [leaves[field.name] for field in SCHEMAS[kind] if _is_text(field.type) and field.name not in _IDS]
    return {
        "compression": "zstd",
        # Fast: a higher level takes several times as long for a few per cent.
        "compression_level": 1,
        "use_dictionary": texts,
        "column_encoding": encodings,
        "write_statistics": ["request_id", "time", "generation"] if kind == IMPRESSIONS else ["time"],
        "version": "2.6",
    }


def _leaf(field: pa.Field) -> str:
    """A column's path in the file."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else str(field.name)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind.value_type if pa.types.is_list(kind) else kind))
