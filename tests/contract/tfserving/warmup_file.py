"""Files of warm-up requests, written without TensorFlow.

A record is its length in 8 bytes, the masked CRC-32C of those, its content, and the masked CRC-32C of that.
(tensorflow/core/lib/io/record_writer.h)
"""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf import json_format

from twostage.tfserving import messages

_POLYNOMIAL = 0x82F63B78


def _crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _masked(content: bytes) -> bytes:
    crc = _crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(content: bytes) -> bytes:
    """One record as the file holds it."""
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def predict_record(request: dict[str, Any]) -> bytes:
    """The PredictionLog of a PredictRequest that is given as JSON: field 6 of the log, field 1 of that."""
    content: bytes = json_format.ParseDict(request, messages.PredictRequest()).SerializeToString()
    return _field(6, _field(1, content))


def _field(number: int, content: bytes) -> bytes:
    length = len(content)
    prefix = bytearray([number << 3 | 2])
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + content
