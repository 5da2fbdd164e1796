from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval_service.packing import packed_floats, packed_varints
from twostage.v1 import retrieval_pb2

SOURCES = retrieval_pb2.CandidateColumns.SOURCES_FIELD_NUMBER
SCORES = retrieval_pb2.CandidateColumns.SCORES_FIELD_NUMBER
EDGES = [0, 1, 127, 128, 255, 256, 511, 16_383, 16_384, 2_097_151, 2_097_152, 2**28 - 1, 2**28, 2**32 - 1]


def read(packed: bytes) -> retrieval_pb2.CandidateColumns:
    return retrieval_pb2.CandidateColumns.FromString(packed)


@given(st.lists(st.sampled_from(EDGES) | st.integers(0, 2**32 - 1), max_size=300))
def test_protobuf_reads_the_integers_and_writes_the_same_bytes(numbers: list[int]) -> None:
    packed = packed_varints(SOURCES, np.array(numbers, np.uint32))
    message = read(packed)
    assert list(message.sources) == numbers
    assert message.SerializeToString() == packed


@pytest.mark.parametrize("numbers", [np.arange(512), np.arange(128), np.zeros(3)])
def test_sixteen_bits_do_too(numbers: NDArray[np.int64]) -> None:
    assert list(read(packed_varints(SOURCES, numbers.astype(np.uint16))).sources) == numbers.tolist()


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=300))
def test_protobuf_reads_the_floats(numbers: list[float]) -> None:
    assert list(read(packed_floats(SCORES, np.array(numbers, np.float32))).scores) == numbers
