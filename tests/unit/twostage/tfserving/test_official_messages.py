"""This client's tensors and requests beside TensorFlow's own, which run in a process of their own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from twostage.tfserving import TensorError, messages
from twostage.tfserving.predict_wire import encode_request
from twostage.tfserving.tensors import decode, encode

Array = np.ndarray[Any, Any]

_TYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
_TYPES += ["bool", "complex64", "complex128"]
_SHAPES = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
_ARRAYS = st.sampled_from(_TYPES).flatmap(lambda name: npst.arrays(np.dtype(name), _SHAPES))
_TEXTS = npst.arrays(np.dtype(object), _SHAPES, elements=st.one_of(st.binary(max_size=200), st.text(max_size=20)))
# TensorFlow's list of each type, and how its values are written there.
_LISTS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "DT_FLOAT": ("float_val", st.floats(width=32)),
    "DT_DOUBLE": ("double_val", st.floats()),
    "DT_INT32": ("int_val", st.integers(-(2**31), 2**31 - 1)),
    "DT_UINT8": ("int_val", st.integers(0, 255)),
    "DT_INT16": ("int_val", st.integers(-(2**15), 2**15 - 1)),
    "DT_INT8": ("int_val", st.integers(-128, 127)),
    "DT_UINT16": ("int_val", st.integers(0, 2**16 - 1)),
    "DT_INT64": ("int64_val", st.integers(-(2**63), 2**63 - 1)),
    "DT_UINT32": ("uint32_val", st.integers(0, 2**32 - 1)),
    "DT_UINT64": ("uint64_val", st.integers(0, 2**64 - 1)),
    "DT_BOOL": ("bool_val", st.booleans()),
    "DT_HALF": ("half_val", st.integers(0, 2**16 - 1)),
    "DT_BFLOAT16": ("half_val", st.integers(0, 2**16 - 1)),
    "DT_STRING": ("string_val", st.binary(max_size=40)),
}
_MANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Official:
    """The process."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("official_process.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __call__(self, kind: str, content: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        packed = pickle.dumps((kind, content))
        self._process.stdin.write(len(packed).to_bytes(8, "big") + packed)
        self._process.stdin.flush()
        length = int.from_bytes(self._process.stdout.read(8), "big")
        succeeded, outcome = pickle.loads(self._process.stdout.read(length))  # noqa: S301 - of our own process
        assert succeeded, outcome
        return outcome

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def official() -> Iterator[Official]:
    process = Official()
    yield process
    process.close()


def _check(found: Array, expected: tuple[str, tuple[int, ...], Array]) -> None:
    name, shape, values = expected
    assert (found.dtype.name, found.shape) == ("float32" if name == "bfloat16" else name, shape)
    np.testing.assert_array_equal(found, values)


def _as_bytes(array: Array) -> Array:
    flat = [value.encode() if isinstance(value, str) else value for value in array.reshape(-1).tolist()]
    encoded = np.empty(len(flat), object)
    encoded[:] = flat
    return encoded.reshape(array.shape)


@_MANY
@given(array=_ARRAYS)
def test_tensorflow_reads_every_array_that_is_sent(official: Official, array: Array) -> None:
    sent = encode(array).SerializeToString()
    _check(array, official("read", sent))
    _check(array, official("run", sent))


@_MANY
@given(array=_TEXTS)
def test_tensorflow_reads_text_and_bytes(official: Official, array: Array) -> None:
    name, shape, values = official("run", encode(array).SerializeToString())
    assert (name, shape) == ("object", array.shape)
    np.testing.assert_array_equal(np.asarray(values, object), _as_bytes(array))


@_MANY
@given(array=_ARRAYS)
def test_every_array_that_tensorflow_writes_is_read(official: Official, array: Array) -> None:
    written = messages.TensorProto.FromString(official("write", (array.dtype.name, array)))
    _check(decode(written), (array.dtype.name, array.shape, array))


@_MANY
@given(array=npst.arrays(np.float32, _SHAPES))
def test_bfloat16_is_read_as_the_float32_of_the_same_value(official: Official, array: Array) -> None:
    written = official("write", ("bfloat16", array))
    _check(decode(messages.TensorProto.FromString(written)), official("read", written))


@_MANY
@given(drawn=st.data(), name=st.sampled_from(sorted(_LISTS)), shape=_SHAPES)
def test_typed_lists_of_any_length_are_read_as_tensorflow_reads_them(
    official: Official, drawn: st.DataObject, name: str, shape: tuple[int, ...]
) -> None:
    field, values = _LISTS[name]
    tensor = messages.TensorProto(dtype=name, **{field: drawn.draw(st.lists(values, max_size=20))})
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    read, expected = decode(tensor), official("run", tensor.SerializeToString())
    if name == "DT_STRING":
        np.testing.assert_array_equal(read, np.asarray(expected[2], object))
    else:
        _check(read, expected)


@_MANY
@given(
    parts=st.lists(st.floats(width=32), max_size=12),
    shape=_SHAPES,
    kind=st.sampled_from([("DT_COMPLEX64", "scomplex_val"), ("DT_COMPLEX128", "dcomplex_val")]),
)
def test_complex_lists_are_read_as_tensorflow_reads_them(
    official: Official, parts: list[float], shape: tuple[int, ...], kind: tuple[str, str]
) -> None:
    whole = parts[: len(parts) // 2 * 2]
    tensor = messages.TensorProto(dtype=kind[0], **{kind[1]: whole})
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    _check(decode(tensor), official("run", tensor.SerializeToString()))


@_MANY
@given(
    inputs=st.dictionaries(st.text(min_size=1, max_size=8), _ARRAYS, max_size=3),
    version=st.integers(0, 2**63 - 1),
    outputs=st.lists(st.text(max_size=8), max_size=3),
)
def test_a_request_is_what_the_official_message_says(
    official: Official, inputs: dict[str, Array], version: int, outputs: list[str]
) -> None:
    request = encode_request("ranker", version, inputs, signature="s", outputs=outputs)
    name, number, signature, wanted, arrays = official("request", request)
    assert (name, number, signature, wanted) == ("ranker", version, "s", outputs)
    assert arrays.keys() == inputs.keys()
    for key, array in inputs.items():
        _check(array, arrays[key])


@_MANY
@given(outputs=st.dictionaries(st.text(min_size=1, max_size=8), _ARRAYS, max_size=3), version=st.integers(1, 2**62))
def test_an_official_answer_is_read(official: Official, outputs: dict[str, Array], version: int) -> None:
    written = official("response", {"name": "m", "version": version, "outputs": outputs})
    response = messages.PredictResponse.FromString(written)
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", version)
    assert response.outputs.keys() == outputs.keys()
    for key, array in outputs.items():
        _check(decode(response.outputs[key]), (array.dtype.name, array.shape, array))


@pytest.mark.parametrize("name", ["DT_QINT8", "DT_QUINT8", "DT_QINT32", "DT_RESOURCE", "DT_VARIANT", "DT_FLOAT8_E5M2"])
def test_a_type_that_numpy_lacks_is_refused_by_name(name: str) -> None:
    with pytest.raises(TensorError, match=f"cannot read a tensor of {name}"):
        decode(messages.TensorProto(dtype=name))
