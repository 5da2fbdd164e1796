"""Writes histograms as an HdrHistogram log, version 1.3, which the tools of that project read."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from twostage.load.histogram import MAX_MICROSECONDS, SIGNIFICANT_DIGITS, LatencyHistogram

# "V2" of the format, as github.com/HdrHistogram/HdrHistogram has it in HistogramLogWriter and AbstractHistogram.
_COUNTS_COOKIE = 0x1C849303 | 0x10
_COMPRESSED_COOKIE = 0x1C849304 | 0x10
_HEADER = struct.Struct(">iiiiqqd")
_COMPRESSED_HEADER = struct.Struct(">ii")


class LogLine(NamedTuple):
    """One histogram of a log.

    Args:
        tag: What it is of, without commas and blanks.
        start_seconds: When its interval begins, from the start of the load.
        length_seconds: How long that is.
        histogram: What was measured.
    """

    tag: str
    start_seconds: float
    length_seconds: float
    histogram: LatencyHistogram


def write_histogram_log(path: Path, lines: Iterable[LogLine], *, started_at: float, note: str) -> None:
    """Writes a log.

    Args:
        path: Where to; a file that is there is replaced.
        lines: In the order of their starts.
        started_at: When the load began, Unix seconds.
        note: One line for a person.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(f"#[{note}]\n#[Histogram log format version 1.3]\n")
        for name in ("StartTime", "BaseTime"):
            file.write(f"#[{name}: {started_at:.3f} (seconds since epoch)]\n")
        file.write("#[Values are microseconds; Interval_Max is milliseconds]\n")
        file.write('"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n')
        for line in lines:
            longest = line.histogram.max_seconds * 1e3
            text = base64.b64encode(encoded(line.histogram)).decode("ascii")
            file.write(f"Tag={line.tag},{line.start_seconds:.3f},{line.length_seconds:.3f},{longest:.3f},{text}\n")


def encoded(histogram: LatencyHistogram) -> bytes:
    """The compressed form, version 2."""
    payload = bytearray()
    position = 0
    for bucket in sorted(histogram.counts):
        if bucket > position:
            # Empty buckets in a row are told by how many they are, as a negative number.
            payload += _zigzag(position - bucket)
        payload += _zigzag(histogram.counts[bucket])
        position = bucket + 1
    header = _HEADER.pack(_COUNTS_COOKIE, len(payload), 0, SIGNIFICANT_DIGITS, 1, MAX_MICROSECONDS, 1.0)
    compressed = zlib.compress(header + payload)
    return _COMPRESSED_HEADER.pack(_COMPRESSED_COOKIE, len(compressed)) + compressed


def _zigzag(number: int) -> bytes:
    """ZigZag and base 128, the least significant part first; counts stay below the 2^55 where the format differs."""
    rest = (number << 1) ^ (number >> 63)
    parts = bytearray()
    while rest > 0x7F:
        parts.append(rest & 0x7F | 0x80)
        rest >>= 7
    parts.append(rest)
    return bytes(parts)
