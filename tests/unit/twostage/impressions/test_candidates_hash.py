from __future__ import annotations

import binascii
import struct

import numpy as np

from twostage.impressions.candidates_hash import candidates_hash


def test_it_is_the_crc_32_of_little_endian_rows() -> None:
    # The check value of CRC-32 is that of the text 123456789.
    assert candidates_hash(np.frombuffer(b"12345678", "<u4")) == binascii.crc32(b"12345678")
    expected = binascii.crc32(struct.pack("<3I", 1, 2, 70_000))
    assert candidates_hash(np.array([1, 2, 70_000], np.uint32)) == expected
    assert candidates_hash(np.array([1, 2, 70_000], ">u4")) == expected


def test_another_order_has_another_hash() -> None:
    assert candidates_hash(np.array([1, 2], np.uint32)) != candidates_hash(np.array([2, 1], np.uint32))
