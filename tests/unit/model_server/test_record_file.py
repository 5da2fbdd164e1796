"""TFRecord files beside TensorFlow's own reader and writer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tensorflow as tf

from model_server.record_file import DamagedRecord, crc32c, read_records


@pytest.mark.parametrize(
    ("content", "expected"),
    # RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_sums_are_those_of_the_standard(content: bytes, expected: int) -> None:
    assert crc32c(content) == expected


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 255, 256, 257, 511, 512, 100_003])
def test_sums_of_any_length_are_those_of_one_byte_after_the_other(length: int) -> None:
    content = random.Random(length).randbytes(length)
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(content) == crc ^ 0xFFFFFFFF


def _mine(path: Path) -> list[bytes | str]:
    found: list[bytes | str] = []
    try:
        found.extend(read_records(path))
    except DamagedRecord as error:
        found.append(str(error))
    return found


def _theirs(path: Path) -> list[bytes | str]:
    found: list[bytes | str] = []
    try:
        found.extend(tf.compat.v1.io.tf_record_iterator(str(path)))
    except tf.errors.DataLossError as error:
        found.append(error.message)
    return found


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    with tf.io.TFRecordWriter(str(tmp_path / "written")) as writer:
        for record in (b"", b"a", bytes(range(256)) * 5, b"the last"):
            writer.write(record)
    return (tmp_path / "written").read_bytes()


def test_what_tensorflow_wrote_is_read(written: bytes, tmp_path: Path) -> None:
    assert written
    assert _mine(tmp_path / "written") == [b"", b"a", bytes(range(256)) * 5, b"the last"]


def test_a_file_that_is_cut_off_anywhere_is_read_as_tensorflow_reads_it(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for length in [*range(60), *range(len(written) - 40, len(written))]:
        path.write_bytes(written[:length])
        assert _mine(path) == _theirs(path), length


def test_a_flipped_bit_is_found_where_tensorflow_finds_it(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped"
    for place in [*range(50), *range(50, len(written), 97)]:
        content = bytearray(written)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        assert _mine(path) == _theirs(path), place
    path.write_bytes(b"this is no record file, it is text, and long enough to hold a header")
    assert _mine(path) == _theirs(path) == ["corrupted record at 0 (Is this even a TFRecord file?)"]
