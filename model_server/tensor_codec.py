"""``TensorProto`` to and from what a TensorFlow session takes and gives.

TensorFlow's own conversion in Python walks over the values one by one; this one reads ``tensor_content`` in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2, types_pb2

_FIELDS: dict[int, tuple[np.dtype[Any], str]] = {
    types_pb2.DT_FLOAT: (np.dtype(np.float32), "float_val"),
    types_pb2.DT_DOUBLE: (np.dtype(np.float64), "double_val"),
    types_pb2.DT_INT32: (np.dtype(np.int32), "int_val"),
    types_pb2.DT_UINT8: (np.dtype(np.uint8), "int_val"),
    types_pb2.DT_INT16: (np.dtype(np.int16), "int_val"),
    types_pb2.DT_INT8: (np.dtype(np.int8), "int_val"),
    types_pb2.DT_UINT16: (np.dtype(np.uint16), "int_val"),
    types_pb2.DT_INT64: (np.dtype(np.int64), "int64_val"),
    types_pb2.DT_BOOL: (np.dtype(np.bool_), "bool_val"),
    types_pb2.DT_HALF: (np.dtype(np.float16), "half_val"),
    types_pb2.DT_BFLOAT16: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    types_pb2.DT_COMPLEX64: (np.dtype(np.complex64), "scomplex_val"),
    types_pb2.DT_COMPLEX128: (np.dtype(np.complex128), "dcomplex_val"),
    types_pb2.DT_UINT32: (np.dtype(np.uint32), "uint32_val"),
    types_pb2.DT_UINT64: (np.dtype(np.uint64), "uint64_val"),
}
_NUMBER_OF = {dtype: number for number, (dtype, _) in _FIELDS.items()}
# What each list holds where it is not the type itself: the bits of half floats, the parts of complex numbers.
_LIST_ITEM: dict[int, np.dtype[Any]] = {
    types_pb2.DT_HALF: np.dtype(np.uint16),
    types_pb2.DT_BFLOAT16: np.dtype(np.uint16),
    types_pb2.DT_COMPLEX64: np.dtype(np.float32),
    types_pb2.DT_COMPLEX128: np.dtype(np.float64),
}
_MAX_BYTES = 2**31 - 1
# NumPy's; TensorFlow's is 254.
_MAX_RANK = 64
# A varint of 64 bits.
_MAX_LENGTH_BYTES = 10


class TensorParseError(ValueError):
    """A tensor message that is no tensor."""


def decode(tensor: tensor_pb2.TensorProto, content: memoryview | None = None) -> NDArray[Any]:
    """Reads a tensor as the real server does.

    A list of values that is too short repeats its last one, an empty list stands for zeros, surplus is dropped;
    ``tensor_content`` has exactly the length of the shape, and goes before a list. An unknown rank is a scalar.

    Args:
        tensor: The message.
        content: Its ``tensor_content`` where that was kept apart; None takes the message's.

    Returns:
        An array, possibly read-only; strings as objects of ``bytes``.

    Raises:
        TensorParseError: Unset or unknown data type, negative or enormous sizes, more than 64 dimensions, or a wrong
            length of content. The real server's limit on sizes is its memory; here it is the 2 GiB that a message may
            have.
    """
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    if shape and min(shape) < 0:
        raise TensorParseError(f"negative size in shape {shape}")
    if len(shape) > _MAX_RANK:
        raise TensorParseError(f"{len(shape)} dimensions")
    count = math.prod(shape)
    if not count and math.prod(filter(None, shape)) > _MAX_BYTES:
        # NumPy multiplies the sizes beside a 0 and finds the array too large.
        raise TensorParseError(f"a tensor of shape {shape} is too large")
    if content is None:
        content = tensor.tensor_content
    if tensor.dtype == types_pb2.DT_STRING:
        return _decode_strings(tensor, bytes(content), shape, count)
    try:
        dtype, field = _FIELDS[tensor.dtype]
    except KeyError:
        raise TensorParseError(f"data type {tensor.dtype} cannot be fed") from None
    if count * dtype.itemsize > _MAX_BYTES:
        raise TensorParseError(f"a tensor of shape {shape} is too large")
    if content:
        if len(content) != count * dtype.itemsize:
            raise TensorParseError(f"{len(content)} bytes of content for shape {shape}")
        return np.frombuffer(content, dtype).reshape(shape)
    item = _LIST_ITEM.get(tensor.dtype, dtype)
    width = dtype.itemsize // item.itemsize
    given = _from_list(getattr(tensor, field), item, count * width)
    values = given[: len(given) // width * width].view(dtype)
    return _repeat_last(values, count).reshape(shape)


def encode(
    array: NDArray[Any], *, as_content: bool, into: tensor_pb2.TensorProto | None = None
) -> tensor_pb2.TensorProto:
    """Writes a session's output.

    Args:
        array: Any array that a session gives; strings as objects of ``bytes``.
        as_content: Write ``tensor_content``; otherwise the typed list of values.
        into: An empty message to write; None makes one.

    Returns:
        The message.

    Raises:
        TensorParseError: The array's data type has no message.
    """
    tensor = tensor_pb2.TensorProto() if into is None else into
    add = tensor.tensor_shape.dim.add
    for size in array.shape:
        add(size=size)
    if array.dtype.kind == "O":
        strings = array.reshape(-1).tolist()
        tensor.dtype = types_pb2.DT_STRING
        if as_content:
            tensor.tensor_content = _encode_string_list(strings)
        else:
            tensor.string_val.extend(strings)
        return tensor
    number = _NUMBER_OF.get(array.dtype)
    if number is None:
        raise TensorParseError(f"an output of {array.dtype} cannot be sent")
    tensor.dtype = number
    if as_content:
        tensor.tensor_content = array.tobytes()
    else:
        item = _LIST_ITEM.get(number)
        flat = np.ascontiguousarray(array).reshape(-1)
        values = flat if item is None else flat.view(item)
        getattr(tensor, _FIELDS[number][1]).extend(values.tolist())
    return tensor


def _from_list(values: Any, item: np.dtype[Any], limit: int) -> NDArray[Any]:
    given = min(len(values), limit)
    if item.kind in "iu":
        # Narrow integers travel in a wider list; what does not fit wraps, as a C++ cast does.
        wide = np.uint64 if item == np.uint64 else np.int64
        return np.fromiter(values, wide, given).astype(item)
    return np.fromiter(values, item, given)


def _repeat_last(values: NDArray[Any], count: int) -> NDArray[Any]:
    if len(values) == count:
        return values
    filled = np.zeros(count, values.dtype)
    if len(values):
        filled[: len(values)] = values
        filled[len(values) :] = values[-1]
    return filled


def _decode_strings(tensor: tensor_pb2.TensorProto, content: bytes, shape: tuple[int, ...], count: int) -> NDArray[Any]:
    # TensorFlow keeps 24 bytes for each string, whatever its length.
    if count * 24 > _MAX_BYTES:
        raise TensorParseError(f"a tensor of shape {shape} is too large")
    if content:
        given = _decode_string_list(content, count)
    else:
        given = list(tensor.string_val[:count])
        given += [given[-1] if given else b""] * (count - len(given))
    strings = np.empty(count, dtype=object)
    strings[:] = given
    return strings.reshape(shape)


def _encode_string_list(strings: list[bytes]) -> bytes:
    """Writes TensorFlow's form of many strings: the length of each as a varint, then all the bytes."""
    lengths = bytearray()
    for string in strings:
        length = len(string)
        while length > 0x7F:
            lengths.append(length & 0x7F | 0x80)
            length >>= 7
        lengths.append(length)
    return bytes(lengths) + b"".join(strings)


def _decode_string_list(content: bytes, count: int) -> list[bytes]:
    position = 0

    def lengths() -> Iterator[int]:
        nonlocal position
        for _ in range(count):
            length, shift = 0, 0
            while True:
                if position == len(content):
                    raise TensorParseError("the content of a string tensor ends within its lengths")
                if shift == 7 * _MAX_LENGTH_BYTES:
                    raise TensorParseError("a length in the content of a string tensor has no end")
                byte = content[position]
                position += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            yield length

    sizes = list(lengths())
    if position + sum(sizes) != len(content):
        raise TensorParseError("the content of a string tensor has another length than it says")
    strings = []
    for size in sizes:
        strings.append(content[position : position + size])
        position += size
    return strings
