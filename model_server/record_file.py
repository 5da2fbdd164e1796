"""TFRecord files: each record behind its length, both with a check sum.

A record is its length (uint64), the check sum of those eight bytes (uint32), the content and the check sum of the
content, all little-endian. Check sums are CRC-32C, rotated and shifted by a constant. Source of the format:
``tensorflow/core/lib/io/record_writer.h``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_CASTAGNOLI = 0x82F63B78
_MASK = 0xA282EAD8
_HEADER = struct.Struct("<QI")
_LENGTH_BYTES = 8
_SUM_BYTES = 4
# So many bytes are summed for all blocks of a content at once.
_BLOCK_BYTES = 256


class DamagedRecord(ValueError):
    """A file that is no TFRecord file, or one that was cut off; the message is TensorFlow's."""


def read_records(path: Path) -> Iterator[bytes]:
    """Reads one record after another.

    Raises:
        DamagedRecord: A check sum does not match or the file ends within a record.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        # A length that is cut off is no record and no damage to TensorFlow.
        while offset + _HEADER.size <= size:
            (length,) = struct.unpack("<Q", _checked(file, offset, _LENGTH_BYTES))
            if length + _SUM_BYTES > size - file.tell():
                raise DamagedRecord(f"truncated record at {offset}' failed with Read less bytes than requested")
            yield _checked(file, file.tell(), length)
            offset = file.tell()


def _checked(file: BinaryIO, offset: int, length: int) -> bytes:
    content = file.read(length)
    (expected,) = struct.unpack("<I", file.read(_SUM_BYTES))
    if masked_sum(content) != expected:
        raise DamagedRecord(f"corrupted record at {offset}{'' if offset else ' (Is this even a TFRecord file?)'}")
    return content


def masked_sum(content: bytes) -> int:
    """The check sum of a length or of a content, as it is written."""
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """The CRC-32C of some bytes, of many blocks at once.

    Leading zeros change a sum from 0 by nothing, so that the first block may be padded; the sum of blocks one behind
    the other is that of the first, moved on by as many zero bytes as the others have, XOR that of the others.
    """
    if len(content) < _BLOCK_BYTES:
        return _crc32c_of_few(content)
    # The usual start from all ones is the same as from 0 with the first four bytes inverted.
    inverted = bytes(byte ^ 255 for byte in content[:_SUM_BYTES])
    padding = bytes(-len(content) % _BLOCK_BYTES)
    padded = np.frombuffer(padding + inverted + content[_SUM_BYTES:], np.uint8).reshape(-1, _BLOCK_BYTES)
    table = _table()
    sums = np.zeros(len(padded), np.uint32)
    for column in np.ascontiguousarray(padded.T):
        sums = table[(sums ^ column) & 255] ^ (sums >> 8)
    move = _moves()
    crc = 0
    for one in sums.tolist():
        crc = move[0][crc & 255] ^ move[1][crc >> 8 & 255] ^ move[2][crc >> 16 & 255] ^ move[3][crc >> 24] ^ one
    return crc ^ 0xFFFFFFFF


def _crc32c_of_few(content: bytes) -> int:
    table = _plain_table()
    crc = 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> NDArray[np.uint32]:
    """What each byte makes of a sum."""
    sums: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        sums = np.where(sums & 1, (sums >> 1) ^ np.uint32(_CASTAGNOLI), sums >> 1).astype(np.uint32)
    return sums


@cache
def _plain_table() -> list[int]:
    table: list[int] = _table().tolist()
    return table


@cache
def _moves() -> list[list[int]]:
    """What a block of zero bytes makes of each of the four bytes of a sum."""
    table = _table()
    places = np.array([[0], [8], [16], [24]], np.uint32)
    sums = np.arange(256, dtype=np.uint32)[np.newaxis] << places
    for _ in range(_BLOCK_BYTES):
        sums = table[sums & 255] ^ (sums >> 8)
    moves: list[list[int]] = sums.tolist()
    return moves
