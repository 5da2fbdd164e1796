from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.twostage.impressions.made_records import as_arrays, events, impressions
from twostage.impressions.batches import event_batch, impression_batch, impressions_of
from twostage.impressions.impression import Impression
from twostage.impressions.logged_event import LoggedEvent
from twostage.impressions.schema import (
    EVENT_SCHEMA,
    EVENTS,
    IMPRESSION_SCHEMA,
    IMPRESSIONS,
    file_metadata,
    read_metadata,
    writer_options,
)


def written(batch: pa.RecordBatch, kind: str) -> pa.Table:
    """What a file of one kind gives back."""
    sink = pa.BufferOutputStream()
    schema = batch.schema.with_metadata(file_metadata(kind, "abcd1234"))
    with pq.ParquetWriter(sink, schema, **writer_options(kind)) as writer:
        writer.write_table(pa.Table.from_batches([batch.replace_schema_metadata(schema.metadata)]))
    return pq.read_table(pa.BufferReader(sink.getvalue()))


def test_records_have_the_columns_of_the_schema() -> None:
    assert list(Impression._fields) == IMPRESSION_SCHEMA.names
    assert list(LoggedEvent._fields) == EVENT_SCHEMA.names


@settings(max_examples=30, deadline=None)
@given(st.lists(impressions(), min_size=1, max_size=5), st.booleans())
def test_answers_are_read_as_they_were_written(records: list[Impression], with_arrays: bool) -> None:
    batch = impression_batch([as_arrays(record) if with_arrays else record for record in records])
    table = written(batch, IMPRESSIONS)
    assert [each for part in table.to_batches() for each in impressions_of(part)] == records


@settings(max_examples=30, deadline=None)
@given(st.lists(events, min_size=1, max_size=8))
def test_events_are_read_as_they_were_written(records: list[LoggedEvent]) -> None:
    table = written(event_batch(records), EVENTS)
    read = table.set_column(6, "time", table.column("time").cast(pa.int64())).to_pylist()
    assert [LoggedEvent(**row) for row in read] == records


def test_an_empty_batch_has_the_schema() -> None:
    assert impression_batch([]).schema == IMPRESSION_SCHEMA


def test_answers_with_and_without_items_are_columns_together() -> None:
    shown = as_arrays(Impression("a", 1, item_ids=("x",), rows=(7,), retrieval_scores=(0.5,)))
    empty = Impression("b", 2)
    assert [each.rows for each in impressions_of(impression_batch([shown, empty, shown]))] == [(7,), (), (7,)]


def test_a_file_says_its_kind_its_version_and_its_secret() -> None:
    schema = written(impression_batch([Impression("a", 1)]), IMPRESSIONS).schema
    assert read_metadata(schema.metadata) == ("impressions", "1", "abcd1234")


def test_what_is_excluded_is_stored_as_differences() -> None:
    # A quarter of a big catalogue's first rows: two octets a row at most, where they take four each as numbers.
    rows = tuple(range(0, 80_000, 4))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, IMPRESSION_SCHEMA, **writer_options(IMPRESSIONS)) as writer:
        writer.write_table(pa.Table.from_batches([impression_batch([Impression("a", 1, excluded_rows=rows)])]))
    group = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata.row_group(0)
    (column,) = [
        group.column(place)
        for place in range(group.num_columns)
        if group.column(place).path_in_schema.startswith("excluded_rows")
    ]
    assert "DELTA_BINARY_PACKED" in column.encodings
    assert column.total_compressed_size < 2 * len(rows)
