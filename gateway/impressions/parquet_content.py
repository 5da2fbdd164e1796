"""The content of one Parquet file, made in memory."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from twostage.impressions.schema import SCHEMAS, file_metadata, writer_options


class ParquetContent:
    """Takes batches and becomes a file's bytes.

    It is made in memory, compressed, and not in the folder: then a file can be written once more when the disk was
    full, and a crash leaves nothing half-written.

    Args:
        kind: Which log.
        secret_fingerprint: As of :func:`twostage.impressions.schema.file_metadata`.
        group_rows: How many records make a row group: fewer compress worse, more wait uncompressed.
        group_bytes: A row group is also made when the records waiting for it take so much.
    """

    def __init__(
        self, kind: str, secret_fingerprint: str, *, group_rows: int = 4096, group_bytes: int = 8 * 2**20
    ) -> None:
        self._schema = SCHEMAS[kind].with_metadata(file_metadata(kind, secret_fingerprint))
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, self._schema, **writer_options(kind))
        self._group_rows = group_rows
        self._group_bytes = group_bytes
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self.row_count = 0

    @property
    def byte_count(self) -> int:
        """What is compressed so far and what still waits, in bytes."""
        return int(self._sink.tell()) + self._waiting_bytes

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes records."""
        self._waiting.append(batch.replace_schema_metadata(self._schema.metadata))
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += int(batch.nbytes)
        self.row_count += batch.num_rows
        if self._waiting_rows >= self._group_rows or self._waiting_bytes >= self._group_bytes:
            self._write_group()

    def finish(self) -> pa.Buffer:
        """The whole file; nothing can be added afterwards."""
        self._write_group()
        self._writer.close()
        return self._sink.getvalue()

    def _write_group(self) -> None:
        if self._waiting_rows:
            # Encoding and compressing leave the interpreter to other threads.
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), self._waiting_rows)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
