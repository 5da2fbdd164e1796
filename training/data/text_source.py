"""The text of a delimited file, and the line at which each of its records stands."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from training.data.errors import DataError

UNIT_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class TextSource:
    """A delimited file's content.

    Args:
        name: The file's name in messages.
        content: UTF-8 text, uncompressed.
        delimiter: One character between fields.
        header: Whether the first line names the columns. Files with a header may quote fields, others do not.
    """

    name: str
    content: bytes
    delimiter: str = ","
    header: bool = True

    @classmethod
    def open_csv(cls, path: Path) -> TextSource:
        """Opens a CSV file with a header, plain or ``.gz``.

        Raises:
            DataError: The file is missing or damaged.
        """
        return cls(path.name, _content(path))

    @classmethod
    def open_double_colon(cls, path: Path) -> TextSource:
        """Opens a file without a header whose fields are separated by ``::``, plain or ``.gz``.

        Bytes that are no UTF-8 are read as Latin-1, as older MovieLens editions are written.

        Raises:
            DataError: The file is missing or damaged.
        """
        content = _content(path)
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            content = content.decode("latin-1").encode("utf-8")
        # The parser takes one character as delimiter: the unit separator, which no title holds.
        return cls(path.name, content.replace(b"::", UNIT_SEPARATOR.encode()), UNIT_SEPARATOR, header=False)

    def column_names(self) -> list[str]:
        """The names in the header.

        Raises:
            DataError: The file is empty, or the header is, or it names a column twice.
        """
        if not self.content.strip():
            raise DataError(self.name, None, None, "expected a header and records, the file is empty")
        try:
            text = self.content.split(b"\n", 1)[0].decode("utf-8-sig").strip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(self.name, 1, None, "expected UTF-8 text, got other bytes") from error
        if not text:
            raise DataError(self.name, 1, None, "expected a header that names the columns, the line is empty")
        names = next(csv.reader([text], delimiter=self.delimiter))
        twice = sorted({column for column in names if names.count(column) > 1})
        if twice:
            raise DataError(self.name, 1, twice[0], "expected each column once, it is named twice")
        return names

    def table(self, wanted: list[str]) -> pa.Table:
        """The records as a table of strings, "" where there is nothing.

        Args:
            wanted: The columns to read; without a header, the names of all columns.

        Raises:
            DataError: A line has too many or too few fields, or is no UTF-8.
        """
        if not self.content.strip():
            return pa.table({name: pa.array([], pa.string()) for name in wanted})
        try:
            return pacsv.read_csv(
                pa.BufferReader(self.content),
                read_options=pacsv.ReadOptions(column_names=None if self.header else wanted, block_size=8 << 20),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.delimiter,
                    quote_char='"' if self.header else False,
                    newlines_in_values=self._quotes,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._malformed(error, 0 if self.header else len(wanted)) from error

    def line(self, record: int) -> int:
        """The line, from 1, at which a record (from 0) begins; slow, for messages only."""
        passed = -1 if self.header else 0
        for number, fields in self._records():
            if not fields:
                continue  # the parser passes over blank lines
            if passed == record:
                return number
            passed += 1
        raise IndexError(f"{self.name} has {passed} records, there is none at {record}")

    @property
    def _quotes(self) -> bool:
        return self.header and b'"' in self.content

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record's first line and its fields; none for a blank line."""
        stream = io.StringIO(self.content.decode("utf-8", errors="replace"), newline="")
        if not self._quotes:
            for number, text in enumerate(stream, start=1):
                stripped = text.rstrip("\r\n")
                yield number, stripped.split(self.delimiter) if stripped else []
            return
        reader = csv.reader(stream, delimiter=self.delimiter)
        start = 1
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1

    def _malformed(self, error: pa.ArrowInvalid, width: int) -> DataError:
        """Finds the line that the parser stumbled over; a width of 0 is that of the first line."""
        for number, text in enumerate(self.content.splitlines(), start=1):
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                return DataError(self.name, number, None, "expected UTF-8 text, got other bytes")
        for number, fields in self._records():
            width = width or len(fields)
            if fields and len(fields) != width:
                return DataError(self.name, number, None, f"expected {width} fields, got {len(fields)}")
        return DataError(self.name, None, None, f"cannot be read: {error}")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError as error:
        raise DataError(path.name, None, None, f"expected this file in {path.parent}, there is none") from error
    except (OSError, EOFError) as error:
        raise DataError(path.name, None, None, f"cannot be read: {error}") from error
