"""NumPy arrays to and from ``TensorProto``, without TensorFlow.

Arrays go out as ``tensor_content``: little-endian bytes in row-major order. A server may answer in either of two forms,
and both are read: ``tensor_content``, or one typed list (``float_val`` and its kin) in which a list that is too short
repeats its last value, an empty one stands for zeros, and surplus values are dropped.

All types that NumPy has are read and sent. bfloat16 is not one of them: it is read as the float32 of the same value,
and an array of the extension type of that name (package ml_dtypes) is sent as it is. Quantised types, 8-bit and 4-bit
floats, resources and variants are refused by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.tfserving.errors import TensorError
from twostage.tfserving.messages import Message, TensorProto, data_type_name

STRING = 7

# TensorFlow's number of each data type that numpy has too, and the list that holds its values.
_NUMERIC: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    5: (np.dtype("<i2"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    9: (np.dtype("<i8"), "int64_val"),
    8: (np.dtype("<c8"), "scomplex_val"),
    10: (np.dtype("?"), "bool_val"),
    17: (np.dtype("<u2"), "int_val"),
    18: (np.dtype("<c16"), "dcomplex_val"),
    19: (np.dtype("<f2"), "half_val"),
    22: (np.dtype("<u4"), "uint32_val"),
    23: (np.dtype("<u8"), "uint64_val"),
}
_NUMBER_OF = {dtype: number for number, (dtype, _) in _NUMERIC.items()}
_BFLOAT16 = 14
_BITS_16 = np.dtype("<u2")
_COMPLEX_FIELDS = frozenset({"scomplex_val", "dcomplex_val"})
_INT32_FIELDS = frozenset({"int_val", "half_val"})
_MAX_BYTES = 2**31 - 1


def data_type_of(array: NDArray[Any]) -> int:
    """Gives TensorFlow's number of an array's data type; text and bytes of any length are strings.

    Raises:
        TensorError: TensorFlow Serving has no such type.
    """
    number = _NUMBER_OF.get(array.dtype)
    if number is not None:
        return number
    if array.dtype.kind in "SUO":
        return STRING
    # The extension type is known by name alone, so that nothing need be imported for it.
    if array.dtype.name == "bfloat16" and array.dtype.itemsize == _BITS_16.itemsize:
        return _BFLOAT16
    number = _NUMBER_OF.get(array.dtype.newbyteorder("<"))
    if number is None:
        raise TensorError(
            f"cannot send an array of {array.dtype}; expected one of "
            f"{', '.join(sorted(dtype.name for dtype in _NUMBER_OF))}, bfloat16, str or bytes"
        )
    return number


def content_of(array: NDArray[Any], number: int) -> NDArray[np.uint8]:
    """Views a numeric array as the bytes of ``tensor_content``; copies only what is not laid out that way.

    Args:
        array: Any shape.
        number: Its data type, from ``data_type_of``; not STRING.
    """
    if number == _BFLOAT16:
        laid_out = np.ascontiguousarray(array).view(_BITS_16)
    else:
        laid_out = np.ascontiguousarray(array, dtype=_NUMERIC[number][0])
    return laid_out.reshape(-1).view(np.uint8)


def string_values(array: NDArray[Any]) -> list[bytes]:
    """Lists the elements of an array of text or bytes in row-major order, text as UTF-8.

    Raises:
        TensorError: An element is neither.
    """
    values: list[bytes] = []
    for value in array.reshape(-1).tolist():
        if isinstance(value, str):
            values.append(value.encode())
        elif isinstance(value, bytes):
            values.append(value)
        else:
            raise TensorError(f"cannot send {type(value).__name__} in an array of objects; expected str or bytes")
    return values


def encode(array: NDArray[Any]) -> Message:
    """Makes a ``TensorProto`` of an array.

    Raises:
        TensorError: The array's type has no tensor form.
    """
    number = data_type_of(array)
    tensor = header(array.shape, number)
    if number == STRING:
        tensor.string_val.extend(string_values(array))
    else:
        tensor.tensor_content = content_of(array, number).tobytes()
    return tensor


def header(shape: tuple[int, ...], number: int) -> Message:
    """Makes a ``TensorProto`` that has a data type and a shape, and no values yet."""
    tensor = TensorProto(dtype=number)
    add = tensor.tensor_shape.dim.add
    for size in shape:
        add(size=size)
    return tensor


def decode(tensor: Message) -> NDArray[Any]:
    """Makes an array of a ``TensorProto``.

    Returns:
        An array of the tensor's shape; strings as objects of ``bytes``, bfloat16 as float32. It may be read-only.

    Raises:
        TensorError: The data type is unknown, the shape is not fully known or too large, or ``tensor_content`` has
            another length than the shape says.
    """
    number = tensor.dtype
    shape = _shape(tensor)
    if number == STRING:
        return _decode_strings(tensor, shape)
    if number == _BFLOAT16:
        return _widened(_decode_numeric(tensor, shape, number, _BITS_16, "half_val"))
    try:
        dtype, field = _NUMERIC[number]
    except KeyError:
        raise TensorError(f"cannot read a tensor of {data_type_name(number)}") from None
    return _decode_numeric(tensor, shape, number, dtype, field)


def _decode_numeric(
    tensor: Message, shape: tuple[int, ...], number: int, dtype: np.dtype[Any], field: str
) -> NDArray[Any]:
    count = math.prod(shape)
    if count * dtype.itemsize > _MAX_BYTES:
        raise TensorError(f"a tensor of shape {list(shape)} takes {count * dtype.itemsize} bytes; at most {_MAX_BYTES}")
    content = tensor.tensor_content
    if content:
        if len(content) != count * dtype.itemsize:
            raise TensorError(
                f"tensor_content of shape {list(shape)} and {data_type_name(number)} has {len(content)} bytes; "
                f"expected {count * dtype.itemsize}"
            )
        return np.frombuffer(content, dtype).reshape(shape)
    return _decode_list(getattr(tensor, field), field, dtype, count).reshape(shape)


def _shape(tensor: Message) -> tuple[int, ...]:
    shape = tensor.tensor_shape
    sizes = tuple(dim.size for dim in shape.dim)
    if shape.unknown_rank or any(size < 0 for size in sizes):
        raise TensorError(
            f"a tensor's shape must be fully known, got {'unknown rank' if shape.unknown_rank else sizes}"
        )
    return sizes


def _widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32."""
    return (bits.astype("<u4") << np.uint32(16)).view("<f4")


def _decode_list(values: Any, field: str, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if field in _COMPLEX_FIELDS:
        # Real and imaginary parts take turns; half a number at the end is none.
        parts = np.array(values[: 2 * count], f"<f{dtype.itemsize // 2}")
        values = parts[: len(parts) // 2 * 2].view(dtype)
    # Small integers, and the 16 bits of half floats, travel as int32, of which the lower bits count.
    source = np.dtype("<i4") if field in _INT32_FIELDS else dtype
    given = min(len(values), count)
    if given == count:
        # np.array reads a whole repeated field at once, np.fromiter an element at a time (3 against 33 µs per 1,000).
        filled = np.array(values if len(values) == count else values[:count], source)
    else:
        filled = np.zeros(count, source)
        if given:
            filled[:given] = np.array(values, source)
            filled[given:] = filled[given - 1]
    if field == "half_val":
        return filled.astype(_BITS_16).view(dtype)
    return filled.astype(dtype, copy=False)


def _decode_strings(tensor: Message, shape: tuple[int, ...]) -> NDArray[Any]:
    count = math.prod(shape)
    # A shape alone must not make this process allocate: each element takes a pointer.
    if count * 8 > _MAX_BYTES:
        raise TensorError(f"a tensor of shape {list(shape)} holds too many strings")
    if tensor.tensor_content:
        given = _split_strings(tensor.tensor_content, count)
    else:
        given = list(tensor.string_val[:count])
        given += [given[-1] if given else b""] * (count - len(given))
    strings = np.empty(count, dtype=object)
    strings[:] = given
    return strings.reshape(shape)


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Reads TensorFlow's form of many strings: the length of each as a varint, then all the bytes."""
    lengths: list[int] = []
    position = length = shift = 0
    while len(lengths) < count:
        if position == len(content):
            raise TensorError("the content of a string tensor ends within its lengths")
        byte = content[position]
        position += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            lengths.append(length)
            length = shift = 0
    if position + sum(lengths) != len(content):
        raise TensorError("the content of a string tensor has another length than it says")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings
