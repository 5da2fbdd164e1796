from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twostage.impressions.batches import event_batch, impression_batch
from twostage.impressions.errors import LogError
from twostage.impressions.impression import Impression
from twostage.impressions.log import open_log
from twostage.impressions.logged_event import LoggedEvent
from twostage.impressions.schema import EVENTS, IMPRESSIONS, file_metadata, writer_options


def write(path: Path, kind: str, batch: pa.RecordBatch, metadata: dict[bytes, bytes] | None = None) -> None:
    schema = batch.schema.with_metadata(file_metadata(kind, "s1") if metadata is None else metadata)
    pq.write_table(pa.Table.from_batches([batch]).cast(schema), path, **writer_options(kind))


def answers(*names: str) -> pa.RecordBatch:
    return impression_batch([Impression(name, 1) for name in names])


def done(*events: Sequence[str]) -> pa.RecordBatch:
    return event_batch([LoggedEvent(key, "r", "u", item, "rated", 1.0, 5) for key, item in events])


def test_files_are_read_in_the_order_of_their_names_and_hidden_ones_are_not(tmp_path: Path) -> None:
    write(tmp_path / "impressions-2.parquet", IMPRESSIONS, answers("c"))
    write(tmp_path / "impressions-1.parquet", IMPRESSIONS, answers("a", "b"))
    (tmp_path / ".impressions-0.parquet").write_bytes(b"half")
    (tmp_path / ".impressions-0.parquet.part").write_bytes(b"half")
    log = open_log(tmp_path)
    assert [name for batch in log.impressions(["request_id"]) for name in batch.column(0).to_pylist()] == [
        "a",
        "b",
        "c",
    ]
    assert log.impression_count() == 3
    assert log.secret_fingerprints == {"s1"}


def test_one_file_is_a_log_too(tmp_path: Path) -> None:
    write(tmp_path / "impressions-1.parquet", IMPRESSIONS, answers("a"))
    write(tmp_path / "impressions-2.parquet", IMPRESSIONS, answers("b"))
    assert open_log(tmp_path / "impressions-2.parquet").impression_count() == 1


def test_an_event_that_was_logged_twice_counts_once_and_the_first_stands(tmp_path: Path) -> None:
    write(tmp_path / "events-1.parquet", EVENTS, done(("k1", "x"), ("k2", "y"), ("k1", "z")))
    write(tmp_path / "events-2.parquet", EVENTS, done(("k2", "w"), ("k3", "v")))
    events = open_log(tmp_path).events(["event_key", "item_id"])
    assert events.to_pylist() == [
        {"event_key": "k1", "item_id": "x"},
        {"event_key": "k2", "item_id": "y"},
        {"event_key": "k3", "item_id": "v"},
    ]


def test_events_without_keys_all_count(tmp_path: Path) -> None:
    write(tmp_path / "events-1.parquet", EVENTS, done(("", "x"), ("k", "y"), ("", "x")))
    assert open_log(tmp_path).events(["item_id"]).column(0).to_pylist() == ["x", "y", "x"]


def test_a_log_without_events_has_none(tmp_path: Path) -> None:
    write(tmp_path / "impressions-1.parquet", IMPRESSIONS, answers("a"))
    assert len(open_log(tmp_path).events()) == 0


def test_columns_of_a_later_program_are_left_alone(tmp_path: Path) -> None:
    later = answers("a").append_column("later", pa.array([1]))
    write(tmp_path / "impressions-1.parquet", IMPRESSIONS, later)
    (batch,) = open_log(tmp_path).impressions()
    assert "later" not in batch.schema.names


@pytest.mark.parametrize(
    ("kind", "version", "told"),
    [
        (b"impressions", b"2", "expected version 1 of the log, found 2"),
        (b"other", b"1", "expected a log of impressions or events"),
        (b"", b"", "expected a log of impressions or events"),
    ],
)
def test_another_file_or_version_is_refused(tmp_path: Path, kind: bytes, version: bytes, told: str) -> None:
    metadata = {b"twostage.log": kind, b"twostage.log.version": version}
    write(tmp_path / "impressions-1.parquet", IMPRESSIONS, answers("a"), metadata)
    with pytest.raises(LogError, match=told):
        open_log(tmp_path)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="expected files of a log"):
        open_log(tmp_path)
    with pytest.raises(LogError, match="expected a folder with a log, there is none"):
        open_log(tmp_path / "nowhere")
    (tmp_path / "impressions-1.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(LogError, match="expected a Parquet file"):
        open_log(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path / "impressions-1.parquet", IMPRESSIONS, answers("a").drop_columns(["rung"]))
    with pytest.raises(LogError, match="expected columns rung, they are missing"):
        list(open_log(tmp_path).impressions(["request_id", "rung"]))
