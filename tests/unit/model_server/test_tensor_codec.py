"""Tensors beside TensorFlow's own conversion."""

from __future__ import annotations

import time
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from model_server.tensor_codec import TensorParseError, decode, encode

_TYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
    np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
]  # fmt: skip


@pytest.mark.parametrize("kind", _TYPES)
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "list"])
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)])
def test_every_type_is_written_as_tensorflow_reads_it_and_read_back(
    kind: Any, as_content: bool, shape: tuple[int, ...]
) -> None:
    array = np.arange(1, 1 + int(np.prod(shape))).reshape(shape).astype(kind)
    tensor = encode(array, as_content=as_content)
    assert bool(tensor.tensor_content) == (as_content and array.size > 0)
    for back in (tf.make_ndarray(tensor), decode(tensor)):
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("as_content", [True, False])
def test_strings_are_written_and_read_back(as_content: bool) -> None:
    array = np.array([[b"a", b""], [b"\xff" * 300, b"z"]], object)
    back = decode(encode(array, as_content=as_content))
    assert back.tolist() == array.tolist()


def test_strings_in_a_list_are_written_as_tensorflow_does() -> None:
    array = np.array([b"a", b"bc"], object)
    assert encode(array, as_content=False) == tf.make_tensor_proto(array)


def test_a_narrow_integer_out_of_range_wraps() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT8, int_val=[300])
    tensor.tensor_shape.dim.add(size=1)
    assert decode(tensor).tolist() == [300 - 256]


def test_a_short_list_of_complex_numbers_repeats_the_last_pair() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_COMPLEX64, scomplex_val=[1, 2, 3, 4])
    tensor.tensor_shape.dim.add(size=3)
    assert decode(tensor).tolist() == [1 + 2j, 3 + 4j, 3 + 4j]


def test_an_unknown_rank_is_a_scalar() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1, 2])
    tensor.tensor_shape.unknown_rank = True
    assert decode(tensor).shape == ()


@pytest.mark.parametrize("dtype", [types_pb2.DT_INVALID, types_pb2.DT_RESOURCE, types_pb2.DT_FLOAT_REF])
def test_a_type_that_cannot_be_fed_is_refused(dtype: int) -> None:
    with pytest.raises(TensorParseError):
        decode(tensor_pb2.TensorProto(dtype=dtype))


@pytest.mark.parametrize("dtype", [types_pb2.DT_FLOAT, types_pb2.DT_STRING])
def test_a_shape_alone_never_takes_memory_without_end(dtype: int) -> None:
    tensor = tensor_pb2.TensorProto(dtype=dtype)
    tensor.tensor_shape.dim.add(size=2**40)
    with pytest.raises(TensorParseError, match="too large"):
        decode(tensor)


@pytest.mark.parametrize("dtype", [types_pb2.DT_FLOAT, types_pb2.DT_STRING])
@pytest.mark.parametrize(
    "shape",
    [(0, 2**62), (0, 2**62, 2**62), (2**40, 2**40, 0), (2**31, 2**31, 2**31), (1,) * 65],
    ids=["0 and a huge one", "0 and an overflow", "an overflow and 0", "an overflow", "65 dimensions"],
)
def test_a_shape_that_no_array_can_have_is_no_tensor(dtype: int, shape: tuple[int, ...]) -> None:
    tensor = tensor_pb2.TensorProto(dtype=dtype)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(TensorParseError):
        decode(tensor)


def test_64_dimensions_are_a_tensor() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[3.0])
    for _ in range(64):
        tensor.tensor_shape.dim.add(size=1)
    assert decode(tensor).shape == (1,) * 64


def test_a_length_of_a_string_that_never_ends_is_refused_at_once() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_content=b"\xff" * 1_000_000)
    began = time.perf_counter()
    with pytest.raises(TensorParseError, match="has no end"):
        decode(tensor)
    assert time.perf_counter() - began < 1.0
