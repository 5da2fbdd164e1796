"""A ``PredictRequest`` read from its bytes without copying its large tensors.

Parsing copies a tensor's content into the message, and reading it from there copies it again: 0.02 to 0.09 ms of CPU
for the 256 KB of 500 candidates, by how cold they are. Here the content of a large tensor is left where gRPC has put
it; everything else is parsed as usual from the pieces around it, so that both ways to read a request agree on every
byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

_LARGE_BYTES = 4096
# In a tag of one byte: the kind of field below, a zero above.
_KIND_BITS = 0b1000_0111
_LENGTH = 2
_NO_CONTENTS: Mapping[str, memoryview] = MappingProxyType({})


def _tag(number: int) -> int:
    """Gives the first byte of a field that says its length; all the numbers here are below 16."""
    return number << 3 | _LENGTH


_INPUTS = predict_pb2.PredictRequest.DESCRIPTOR.fields_by_name["inputs"]
_INPUTS_TAG = _tag(_INPUTS.number)
_KEY_TAG = _tag(_INPUTS.message_type.fields_by_name["key"].number)
_VALUE_TAG = _tag(_INPUTS.message_type.fields_by_name["value"].number)
_CONTENT_TAG = _tag(tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name["tensor_content"].number)


class _UnusualError(Exception):
    """Bytes that are left to the usual parser, right or wrong."""


def parse_request(data: bytes) -> tuple[predict_pb2.PredictRequest, Mapping[str, memoryview]]:
    """Reads a request.

    Args:
        data: The message as it came.

    Returns:
        The request without the contents of large tensors, and those contents by input, which share memory with
        ``data``.

    Raises:
        DecodeError: The bytes are no such message.
    """
    if len(data) >= _LARGE_BYTES:
        try:
            return _parse_around(data)
        except (_UnusualError, IndexError, UnicodeDecodeError):
            pass
    return predict_pb2.PredictRequest.FromString(data), _NO_CONTENTS


def _parse_around(data: bytes) -> tuple[predict_pb2.PredictRequest, Mapping[str, memoryview]]:
    view = memoryview(data)
    pieces: list[bytes | memoryview] = []
    contents: dict[str, memoryview] = {}
    input_count = 0
    position, kept = 0, 0
    while position < len(data):
        tag = data[position]
        if tag & _KIND_BITS != _LENGTH:
            raise _UnusualError
        size, start = _varint(data, position + 1)
        end = start + size
        if end > len(data):
            raise _UnusualError
        if tag == _INPUTS_TAG:
            input_count += 1
            if size >= _LARGE_BYTES:
                alias, entry, content = _cut(data, view, start, end)
                contents[alias] = content
                pieces += (view[kept:position], bytes((tag,)), _to_varint(len(entry)), entry)
                kept = end
        position = end
    pieces.append(view[kept:])
    request = predict_pb2.PredictRequest.FromString(b"".join(pieces))
    if len(request.inputs) != input_count:
        raise _UnusualError  # an input given twice, of which the last counts
    return request, contents


def _cut(data: bytes, view: memoryview, start: int, end: int) -> tuple[str, bytes, memoryview]:
    """Takes the content out of an entry of the map of inputs: a key, then its value, and nothing else.

    Returns:
        The key, the entry without the content, and the content.
    """
    if data[start] != _KEY_TAG:
        raise _UnusualError
    key_size, key = _varint(data, start + 1)
    key_end = key + key_size
    if data[key_end] != _VALUE_TAG:
        raise _UnusualError
    tensor_size, tensor = _varint(data, key_end + 1)
    if tensor + tensor_size != end:
        raise _UnusualError
    content: tuple[int, int, int] | None = None
    position = tensor
    while position < end:
        field, tag = position, data[position]
        # The length of what follows, or a plain number, which ends where it is read.
        size, first = _varint(data, position + 1)
        if tag & _KIND_BITS == _LENGTH:
            position = first + size
        elif tag & _KIND_BITS == 0:
            position = first
        else:
            raise _UnusualError
        if tag == _CONTENT_TAG:
            if content is not None:
                raise _UnusualError
            content = field, first, position
    if content is None or position != end:
        raise _UnusualError
    field, first, last = content
    rest = data[tensor:field] + data[last:end]
    entry = b"".join((data[start : key_end + 1], _to_varint(len(rest)), rest))
    return data[key:key_end].decode(), entry, view[first:last]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Gives a number and where the next byte is."""
    byte = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    number, shift = byte & 0x7F, 7
    while shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
    raise _UnusualError


def _to_varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
