"""Reading a request around its large tensors, held against protobuf's own parser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from model_server.predict_wire import parse_request
from model_server.tensor_codec import decode

_LARGE = 5000


def _parse_whole(data: bytes) -> predict_pb2.PredictRequest:
    """Reads with what was kept apart put back."""
    request, contents = parse_request(data)
    for alias, content in contents.items():
        assert not request.inputs[alias].tensor_content
        request.inputs[alias].tensor_content = bytes(content)
    return request


@st.composite
def _requests(draw: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = draw(st.text(max_size=5))
    request.model_spec.signature_name = draw(st.text(max_size=3))
    request.output_filter.extend(draw(st.lists(st.text(max_size=3), max_size=2)))
    for alias in draw(st.lists(st.text(max_size=4), max_size=4, unique=True)):
        tensor = request.inputs[alias]
        tensor.dtype = draw(st.sampled_from([0, 1, 7, 100, 19]))
        for size in draw(st.lists(st.integers(-1, 2**40), max_size=3)):
            tensor.tensor_shape.dim.add(size=size, name=draw(st.sampled_from(["", "n"])))
        content_size = draw(st.sampled_from([0, 1, 4090, _LARGE, 70_000]))
        tensor.tensor_content = bytes([draw(st.integers(0, 255))]) * content_size
        tensor.float_val.extend([1.5] * draw(st.sampled_from([0, 2, 2000])))
        tensor.uint32_val.extend([7] * draw(st.sampled_from([0, 3])))
        tensor.version_number = draw(st.sampled_from([0, 3, -1]))
    return request


@settings(max_examples=150, deadline=None)
@given(_requests())
def test_every_request_is_read_as_protobuf_reads_it(request: predict_pb2.PredictRequest) -> None:
    assert _parse_whole(request.SerializeToString()) == request


@settings(max_examples=150, deadline=None)
@given(_requests(), st.data())
def test_damaged_bytes_are_read_or_refused_as_protobuf_does(
    request: predict_pb2.PredictRequest, draw: st.DataObject
) -> None:
    damaged = bytearray(request.SerializeToString())
    if damaged:
        # Near the front, where the structure is; the rest is mostly content.
        damaged[draw.draw(st.integers(0, min(len(damaged), 60) - 1))] ^= draw.draw(st.integers(1, 255))
    data = bytes(damaged[: draw.draw(st.integers(0, len(damaged)))] if draw.draw(st.booleans()) else damaged)
    try:
        expected = predict_pb2.PredictRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_request(data)
        return
    assert _parse_whole(data) == expected


def _field(number: int, content: bytes) -> bytes:
    size = len(content)
    written = bytearray([number << 3 | 2])
    while size > 0x7F:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(written) + bytes([size]) + content


def _entry(key: bytes, value: bytes) -> bytes:
    return _field(2, _field(1, key) + _field(2, value))


_A, _B = _field(4, b"a" * _LARGE), _field(4, b"b" * _LARGE)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_entry(b"x", _A) + _entry(b"x", _B), id="an input given twice"),
        pytest.param(_entry(b"x", _A) + _entry(b"x", b"\x08\x01"), id="a small one after a large one"),
        pytest.param(_entry(b"x", _A + _B), id="two contents"),
        pytest.param(_field(2, _field(2, _A) + _field(1, b"x")), id="the value before the key"),
        pytest.param(_field(2, _field(2, _A)), id="no key"),
        pytest.param(_field(2, _field(1, b"x") + _field(2, _A) + _field(2, _B)), id="two values"),
        pytest.param(_field(2, _field(1, b"x") + _field(2, _A) + _field(9, b"unknown")), id="an unknown field inside"),
        pytest.param(_entry(b"x", _A) + _field(9, b"unknown" * 1000), id="an unknown field beside"),
        pytest.param(_entry(b"x", _A) + b"\x48\x07", id="an unknown number beside"),
        pytest.param(_field(1, _field(1, b"m")) + _entry(b"x", _A) + _field(1, _field(3, b"s")), id="two model specs"),
        pytest.param(_entry(b"x", b"\x08\x01" + _A + b"\x08\x02"), id="two data types around the content"),
    ],
)
def test_what_no_client_sends_but_the_format_allows_is_read_as_protobuf_reads_it(data: bytes) -> None:
    assert _parse_whole(data) == predict_pb2.PredictRequest.FromString(data)


@pytest.mark.parametrize("data", [_entry(b"\xff", _A), _entry(b"x", _A)[:-1], _entry(b"x", _A) + b"\x0a\xff"])
def test_what_protobuf_refuses_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        predict_pb2.PredictRequest.FromString(data)
    with pytest.raises(DecodeError):
        parse_request(data)


def test_a_large_tensor_shares_the_memory_of_the_bytes_and_a_small_one_does_not() -> None:
    items = np.arange(4000, dtype=np.float32).reshape(500, 8)
    request = predict_pb2.PredictRequest()
    for alias, array in (("items", items), ("user", items[:1])):
        tensor = request.inputs[alias]
        tensor.dtype = types_pb2.DT_FLOAT
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.tobytes()
    data = request.SerializeToString()
    parsed, contents = parse_request(data)
    assert set(contents) == {"items"}
    array = decode(parsed.inputs["items"], contents["items"])
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    np.testing.assert_array_equal(array, items)
    np.testing.assert_array_equal(decode(parsed.inputs["user"], contents.get("user")), items[:1])


def test_large_strings_are_bytes_of_their_own() -> None:
    request = predict_pb2.PredictRequest()
    tensor = request.inputs["s"]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=2)
    # TensorFlow's form: both lengths as varints, then both strings.
    tensor.tensor_content = b"\x88\x27" + b"\x01" + b"x" * 5000 + b"y"
    parsed, contents = parse_request(request.SerializeToString())
    array = decode(parsed.inputs["s"], contents["s"])
    assert [type(one) for one in array] == [bytes, bytes]
    assert array.tolist() == [b"x" * 5000, b"y"]
