"""A folder of log files, read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from twostage.impressions.errors import LogError
from twostage.impressions.schema import EVENTS, IMPRESSIONS, SCHEMAS, VERSION, read_metadata

_BATCH_ROWS = 1024


@dataclass(frozen=True)
class Log:
    """The complete files of a log; what its writers have not finished is not among them.

    Args:
        impression_files: Of answers, in the order of their names, which begin with the time.
        event_files: Of what people did, likewise.
        secret_fingerprints: Of the secrets behind the user keys; the empty one is of files without keys.
    """

    impression_files: tuple[Path, ...]
    event_files: tuple[Path, ...]
    secret_fingerprints: frozenset[str]

    def impressions(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Answers, file by file, a row for each; within a file about in the order of time.

        Args:
            columns: The columns to read, of ``IMPRESSION_SCHEMA``; all of them when None.

        Raises:
            LogError: A file is damaged or lacks a column.
        """
        names = list(SCHEMAS[IMPRESSIONS].names if columns is None else columns)
        for path in self.impression_files:
            yield from _batches(path, names)

    def impression_count(self) -> int:
        """How many answers there are."""
        return sum(_footer(path).num_rows for path in self.impression_files)

    def events(self, columns: Sequence[str] | None = None) -> pa.Table:
        """What people did, each event once however often it was sent: its first record stands.

        Args:
            columns: The columns to return, of ``EVENT_SCHEMA``; all of them when None.

        Raises:
            LogError: A file is damaged or lacks a column.
        """
        schema = SCHEMAS[EVENTS]
        batches = [batch for path in self.event_files for batch in _batches(path, schema.names)]
        table = pa.Table.from_batches(batches, schema)
        keys = table.column("event_key")
        # Events without keys cannot be told apart, so all stand.
        keyed = table.append_column("place", pa.array(range(len(table)), pa.int64())).filter(pc.not_equal(keys, ""))
        first = keyed.group_by("event_key").aggregate([("place", "min")]).column("place_min")
        unkeyed = pc.indices_nonzero(pc.equal(keys, "")).cast(pa.int64())
        places = pa.chunked_array([*first.chunks, unkeyed], pa.int64()).sort()
        distinct = table.take(places)
        return distinct if columns is None else distinct.select(list(columns))


def open_log(path: Path) -> Log:
    """Opens a log.

    Args:
        path: The folder that the gateways write to, or one file of it.

    Raises:
        LogError: There is no such log, or a file is damaged or of another version.
    """
    if path.is_dir():
        # Hidden files are those that are being written.
        files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))
    elif path.is_file():
        files = [path]
    else:
        raise LogError(f"{path}: expected a folder with a log, there is none")
    by_kind: dict[str, list[Path]] = {IMPRESSIONS: [], EVENTS: []}
    fingerprints = set()
    for file in files:
        kind, version, fingerprint = read_metadata(_footer(file).schema.to_arrow_schema().metadata)
        if kind not in by_kind:
            raise LogError(f"{file}: expected a log of {IMPRESSIONS} or {EVENTS}, found another Parquet file")
        if version != str(VERSION):
            raise LogError(f"{file}: expected version {VERSION} of the log, found {version or 'none'}")
        by_kind[kind].append(file)
        fingerprints.add(fingerprint)
    if not files:
        raise LogError(f"{path}: expected files of a log (impressions-*.parquet, events-*.parquet), there is none")
    return Log(tuple(by_kind[IMPRESSIONS]), tuple(by_kind[EVENTS]), frozenset(fingerprints))


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise LogError(f"{path}: expected a Parquet file, {error}") from error


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise LogError(f"{path}: expected columns {', '.join(missing)}, they are missing")
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                # The file's own metadata would keep batches of several files from being one table.
                yield batch.select(columns).replace_schema_metadata(None)
    except (OSError, pa.ArrowException) as error:
        raise LogError(f"{path}: expected a Parquet file, {error}") from error
