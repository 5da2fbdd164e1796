"""Impression logs for tests, written column by column as the schema says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twostage.impressions.schema import EVENTS, IMPRESSIONS, SCHEMAS, file_metadata


def answer(request_id: str, person: str, arms: Mapping[str, str] | None = None, **columns: Any) -> dict[str, Any]:
    """A row of the log: an answer of three items unless ``columns`` say otherwise."""
    items = columns.setdefault("item_ids", ["a", "b", "c"])
    arms = arms or {}
    row: dict[str, Any] = {field.name: None for field in SCHEMAS[IMPRESSIONS]}
    row |= {
        "request_id": request_id,
        "time": 0,
        "user_key": person,
        "experiments": list(arms),
        "arms": list(arms.values()),
        "rivals": "",
        "asked_count": len(items),
        "exploration_epsilon": 0.0,
        "propensities": [1.0] * len(items),
        "ranking_positions": list(range(1, len(items) + 1)),
        "teams": [""] * len(items),
    }
    return row | columns


def event(key: str, request_id: str, person: str, item_id: str, action: str = "clicked") -> dict[str, Any]:
    """A row of the events."""
    return {
        "event_key": key,
        "request_id": request_id,
        "user_key": person,
        "item_id": item_id,
        "action": action,
        "value": None,
        "time": 0,
    }


def write_log(folder: Path, answers: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Writes a log and returns its folder."""
    folder.mkdir(exist_ok=True)
    for kind, rows in ((IMPRESSIONS, answers), (EVENTS, events)):
        schema = SCHEMAS[kind].with_metadata(file_metadata(kind, ""))
        pq.write_table(pa.Table.from_pylist(list(rows), schema), folder / f"{kind}-1.parquet")
    return folder
