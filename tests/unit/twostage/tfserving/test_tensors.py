"""Arrays to and from tensors, beside TensorFlow's own rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from twostage.tfserving import TensorError
from twostage.tfserving.messages import TensorProto
from twostage.tfserving.tensors import decode, encode

_FLOAT, _INT32, _STRING, _INT64, _BOOL, _HALF = 1, 3, 7, 9, 10, 19


def _tensor(dtype: int, dims: list[int], **values: Any) -> Any:
    tensor = TensorProto(dtype=dtype, **values)
    for size in dims:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@given(
    npst.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.bool_]),
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_any_numeric_array_comes_back_with_its_type_shape_and_values(array: np.ndarray[Any, Any]) -> None:
    back = decode(encode(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_content_is_little_endian_in_row_major_order() -> None:
    tensor = encode(np.array([[1, 3], [2, 4]], ">i4").T)
    assert (tensor.dtype, [dim.size for dim in tensor.tensor_shape.dim]) == (_INT32, [2, 2])
    assert tensor.tensor_content == bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])


def test_text_travels_as_utf8_bytes() -> None:
    tensor = encode(np.array(["a", "é"]))
    assert (tensor.dtype, list(tensor.string_val)) == (_STRING, [b"a", b"\xc3\xa9"])
    assert decode(tensor).tolist() == [b"a", b"\xc3\xa9"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 2.0, 3.0], [1, 2, 3, 3]), ([5.0], [5, 5, 5, 5]), ([], [0, 0, 0, 0]), ([1.0, 2, 3, 4, 5, 6], [1, 2, 3, 4])],
    ids=["a short list repeats its last value", "one value fills all", "none is zeros", "surplus is dropped"],
)
def test_a_typed_list_of_another_length_is_read_as_tensorflow_reads_it(
    values: list[float], expected: list[float]
) -> None:
    array = decode(_tensor(_FLOAT, [2, 2], float_val=values))
    assert array.dtype == np.float32
    assert array.tolist() == [expected[:2], expected[2:]]


def test_typed_lists_of_each_kind_are_read() -> None:
    assert decode(_tensor(_INT64, [2], int64_val=[-1, 2**40])).tolist() == [-1, 2**40]
    assert decode(_tensor(_BOOL, [3], bool_val=[True, False])).tolist() == [True, False, False]
    # 15360 and 49152 are the bits of 1.0 and -2.0 in half precision.
    assert decode(_tensor(_HALF, [3], half_val=[15360, 49152])).tolist() == [1.0, -2.0, -2.0]
    assert decode(_tensor(_STRING, [3], string_val=[b"x", b"y"])).tolist() == [b"x", b"y", b"y"]
    assert decode(_tensor(_INT32, [], int_val=[7])).shape == ()


def test_strings_as_content_are_read() -> None:
    # TensorFlow writes the length of each as a varint, then all the bytes.
    tensor = _tensor(_STRING, [3], tensor_content=b"\x01\x00\x82\x01" + b"a" + b"b" * 130)
    assert decode(tensor).tolist() == [b"a", b"", b"b" * 130]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_tensor(_FLOAT, [2], tensor_content=b"1234567"), r"\[2\] and DT_FLOAT has 7 bytes; expected 8"),
        (_tensor(0, [1]), "cannot read a tensor of DT_INVALID"),
        (_tensor(999, [1]), "unknown data type 999"),
        (_tensor(_FLOAT, [-1], float_val=[1]), "must be fully known, got"),
        (_tensor(_FLOAT, [2**40], float_val=[1]), "at most 2147483647"),
        (_tensor(_STRING, [2**40], string_val=[b""]), "too many strings"),
        (_tensor(_STRING, [2], tensor_content=b"ab"), "another length than it says"),
        (_tensor(_STRING, [2], tensor_content=b"\x80"), "ends within its lengths"),
    ],
)
def test_a_tensor_that_is_no_array_is_refused(tensor: Any, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        decode(tensor)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros(1, np.longdouble),
            r"cannot send .*; expected one of bool, complex128, complex64, float16",
        ),
        (np.array(["2026-01-01"], "datetime64[D]"), "cannot send an array of datetime64"),
        (np.array([b"a", 3], object), "cannot send int in an array of objects"),
    ],
)
def test_an_array_without_a_tensor_form_is_refused(array: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(TensorError, match=message):
        encode(array)
