"""One table of a data set, read from a text or Parquet file, that knows the line of each of its records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.data.errors import DataError
from training.data.text_source import TextSource

ID_BYTES_LIMIT = 256
"""The longest id of a user or item, in bytes of UTF-8; the bound of the services' contract."""

_HASH_BLOCK_BYTES = 1 << 20


class TableFile:
    """A table whose columns are asked for by kind and refused with file, row and column.

    Text files are read as text throughout and converted here, so that a value that does not convert can be named by
    its line.

    Args:
        name: The file's name in messages.
        table: The records; text columns as strings, "" where there is nothing.
        sha256: The hex digest of the content; of text as it is parsed, so plain and gzipped files are one data set.
        source: The text it was read from, or None for Parquet.
    """

    def __init__(self, name: str, table: pa.Table, sha256: str, source: TextSource | None = None) -> None:
        self.name = name
        self.table = table
        self.sha256 = sha256
        self._source = source

    def __len__(self) -> int:
        """The number of records."""
        return int(self.table.num_rows)

    @classmethod
    def read(cls, path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> TableFile:
        """Reads a CSV (plain or ``.gz``) or ``.parquet`` file.

        Args:
            path: The file.
            required: Columns that must be there; any further ones are ignored.
            optional: Columns that are read when they are there.

        Raises:
            DataError: The file is missing or malformed, or lacks a column.
        """
        if path.suffix == ".parquet":
            return cls._read_parquet(path, [*required, *optional], required)
        source = TextSource.open_csv(path)
        names = source.column_names()
        _require(path.name, names, required)
        wanted = [name for name in dict.fromkeys([*required, *optional]) if name in names]
        return cls(path.name, source.table(wanted), hashlib.sha256(source.content).hexdigest(), source)

    @classmethod
    def read_double_colon(cls, path: Path, columns: Sequence[str]) -> TableFile:
        """Reads a file whose fields are separated by ``::`` and that has no header, plain or ``.gz``.

        Raises:
            DataError: The file is missing or malformed.
        """
        source = TextSource.open_double_colon(path)
        return cls(path.name, source.table(list(columns)), hashlib.sha256(source.content).hexdigest(), source)

    @classmethod
    def _read_parquet(cls, path: Path, wanted: Sequence[str], required: Sequence[str]) -> TableFile:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_HASH_BLOCK_BYTES):
                    digest.update(block)
            names = pq.read_schema(path).names
            _require(path.name, names, required)
            table = pq.read_table(path, columns=[name for name in dict.fromkeys(wanted) if name in names])
        except FileNotFoundError as error:
            raise DataError(path.name, None, None, f"expected this file in {path.parent}, there is none") from error
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(path.name, None, None, f"expected a sound Parquet file: {error}") from error
        return cls(path.name, table, digest.hexdigest())

    def place(self, record: int) -> str:
        """Where a record (counted from 0) is, e.g. ``line 7``, or ``row 6`` in a Parquet file."""
        return f"row {record + 1}" if self._source is None else f"line {self._source.line(record)}"

    def error(self, record: int, column: str | None, message: str) -> DataError:
        """The error for a record (counted from 0), with the row a person would count."""
        row = record + 1 if self._source is None else self._source.line(record)
        return DataError(self.name, row, column, message)

    def text(self, column: str) -> pa.ChunkedArray:
        """A column of strings, white space at the ends removed, null where nothing is left."""
        values = self._strings(column)
        trimmed = pc.utf8_trim_whitespace(values)
        return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)

    def ids(self, column: str) -> pa.ChunkedArray:
        """A column of non-empty ids of at most 256 bytes of UTF-8, as strings.

        Raises:
            DataError: An id is empty or too long.
        """
        values = pc.fill_null(self._strings(column), "")
        sizes = pc.binary_length(values).to_numpy()
        if (record := _first(sizes == 0)) is not None:
            raise self.error(record, column, "expected an id, the field is empty")
        if (record := _first(sizes > ID_BYTES_LIMIT)) is not None:
            came = f"{sizes[record]} bytes"
            raise self.error(record, column, f"expected an id of at most {ID_BYTES_LIMIT} bytes of UTF-8, got {came}")
        return values

    def numbers(self, column: str) -> pa.ChunkedArray:
        """A column of finite numbers as float64, null where there is nothing.

        Raises:
            DataError: A value is no number or not finite.
        """
        values = self.table.column(column)
        values = self.text(column) if _is_string(values.type) else values
        values = self._convert(column, values, lambda part: part.cast(pa.float64()), "a number")
        finite = pc.fill_null(pc.is_finite(values), True).to_numpy()
        if (record := _first(~finite)) is not None:
            raise self.error(record, column, f"expected a finite number, got {self._came(column, record)}")
        return values

    def integers(self, column: str) -> NDArray[np.int64]:
        """A column of whole numbers, none missing.

        Raises:
            DataError: A value is missing or no whole number.
        """
        return self._whole(column, lambda part: part.cast(pa.int64()), "a whole number")

    def times(self, column: str, formats: Sequence[str] = ()) -> NDArray[np.int64]:
        """A column of times as Unix seconds (UTC), none missing.

        Unix seconds, Parquet timestamps and, as text, ISO 8601 dates and times are understood; a time without a zone
        is taken as UTC; parts of a second are cut off.

        Args:
            column: The column.
            formats: Formats as of ``strptime`` to try on text instead; the first that reads the first record is used.

        Raises:
            DataError: A value is missing or no time.
        """
        kind = self.table.column(column).type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return self._whole(column, lambda part: part.cast(pa.timestamp("s"), safe=False).cast(pa.int64()), "a time")
        if not _is_string(kind):
            return self._whole(column, lambda part: part.cast(pa.int64()), "a time in Unix seconds")
        if formats:
            return self._formatted_times(column, formats)
        return self._whole(column, _parse_times, "a time (Unix seconds or ISO 8601)")

    def lists(self, column: str, separator: str | None) -> pa.ChunkedArray:
        """A column of lists of strings: trimmed, without empty ones; an empty list where there is nothing.

        Args:
            column: A list column of Parquet, or text.
            separator: What stands between the values of text.

        Raises:
            DataError: The column is text and there is no separator, or it holds something else.
        """
        values = self.table.column(column)
        if _is_list(values.type) and _is_string(values.type.value_type):
            parts = pc.fill_null(values.cast(pa.list_(pa.string())), [])
        elif _is_string(values.type) and separator:
            parts = pc.split_pattern(pc.fill_null(values.cast(pa.string()), ""), separator)
        else:
            expected = "a list of strings, or text and a separator"
            raise DataError(self.name, None, column, f"expected {expected}, got {values.type}")
        return pa.chunked_array([_clean_lists(part) for part in parts.chunks], pa.list_(pa.string()))

    def vectors(self, column: str) -> pa.ChunkedArray:
        """A column of vectors of one length, as fixed-size lists of float32; zeros where there is none.

        Raises:
            DataError: The column holds something else, lengths differ, or a number is missing or not finite.
        """
        values = self.table.column(column)
        kind = values.type
        if not (_is_list(kind) or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(kind.value_type):
            raise DataError(self.name, None, column, f"expected lists of floating-point numbers, got {kind}")
        lists = values.cast(pa.list_(pa.float32()))
        sizes = pc.fill_null(pc.list_value_length(lists), -1).to_numpy()
        given = sizes >= 0
        if not given.any():
            raise DataError(self.name, None, column, "expected vectors, there are none")
        size = int(sizes[given][0])
        if (record := _first(given & (sizes != max(size, 1)))) is not None:
            raise self.error(record, column, f"expected {max(size, 1)} numbers, got {sizes[record]}")
        flat = np.zeros((len(self), size), np.float32)
        flat[given] = pc.fill_null(pc.list_flatten(lists), float("nan")).to_numpy().reshape(-1, size)
        if (record := _first(np.asarray(~np.isfinite(flat).all(axis=1)))) is not None:
            raise self.error(record, column, "expected finite numbers only")
        return pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), size)])

    def _strings(self, column: str) -> pa.ChunkedArray:
        values = self.table.column(column)
        if _is_string(values.type):
            return values.cast(pa.string())
        if pa.types.is_dictionary(values.type) or pa.types.is_integer(values.type):
            return values.cast(pa.string())
        raise DataError(self.name, None, column, f"expected text or whole numbers, got {values.type}")

    def _whole(
        self, column: str, convert: Callable[[pa.ChunkedArray], pa.ChunkedArray], what: str
    ) -> NDArray[np.int64]:
        values = self.table.column(column)
        values = self.text(column) if _is_string(values.type) else values
        if (record := _first(values.is_null().to_numpy())) is not None:
            raise self.error(record, column, f"expected {what}, the field is empty")
        return np.asarray(self._convert(column, values, convert, what).to_numpy(), dtype=np.int64)

    def _formatted_times(self, column: str, formats: Sequence[str]) -> NDArray[np.int64]:
        def parse(form: str, part: pa.ChunkedArray) -> pa.ChunkedArray:
            return pc.strptime(part, format=form, unit="s").cast(pa.int64())

        values = self.text(column)
        for form in formats[:-1]:
            try:
                parse(form, values.slice(0, 1))
            except pa.ArrowInvalid:
                continue
            return self._whole(column, lambda part, form=form: parse(form, part), f"a time like {form}")  # type: ignore[misc]
        return self._whole(column, lambda part: parse(formats[-1], part), f"a time like {' or '.join(formats)}")

    def _convert(
        self, column: str, values: pa.ChunkedArray, convert: Callable[[pa.ChunkedArray], pa.ChunkedArray], what: str
    ) -> pa.ChunkedArray:
        try:
            return convert(values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            record = _first_failure(values, convert)
            raise self.error(record, column, f"expected {what}, got {self._came(column, record)}") from error

    def _came(self, column: str, record: int) -> str:
        text = repr(self.table.column(column)[record].as_py())
        return text if len(text) <= 80 else f"{text[:77]}..."


def _require(name: str, columns: Sequence[str], required: Sequence[str]) -> None:
    for column in required:
        if column not in columns:
            row = None if name.endswith(".parquet") else 1
            raise DataError(name, row, column, f"expected this column, there are only {', '.join(columns)}")


def _first(mask: NDArray[np.bool_]) -> int | None:
    positions = np.flatnonzero(mask)
    return int(positions[0]) if len(positions) else None


def _first_failure(values: pa.ChunkedArray, convert: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> int:
    """The first record that does not convert, by bisection: whole columns convert in one call, records are slow."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            convert(values.slice(low, middle - low))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
        else:
            low = middle
    return low


def _parse_times(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Unix seconds or ISO 8601 to int64 seconds; raises pa.ArrowInvalid on anything else."""
    seconds = pc.match_substring_regex(values, r"^[+-]?\d+$")
    zoned = pc.match_substring_regex(values, r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$")
    nothing = pa.scalar(None, pa.string())
    whole = pc.if_else(seconds, values, nothing).cast(pa.int64())
    utc = pc.if_else(pc.and_not(zoned, seconds), values, nothing).cast(pa.timestamp("us", "UTC"))
    naive = pc.if_else(pc.or_(zoned, seconds), nothing, values).cast(pa.timestamp("us"))

    def floor(times: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.floor_temporal(times, unit="second").cast(pa.timestamp("s", times.type.tz)).cast(pa.int64())

    return pc.coalesce(whole, floor(utc), floor(naive))


def _clean_lists(lists: pa.ListArray) -> pa.ListArray:
    """Trims every value and drops those that are then empty."""
    flat = pc.utf8_trim_whitespace(pc.fill_null(lists.flatten(), ""))
    keep = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(kept_before[ends], pa.int32()), flat.filter(pa.array(keep)))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
