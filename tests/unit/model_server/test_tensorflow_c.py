"""A SavedModel through TensorFlow's C API: every type in and out, errors, memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from model_server.tensorflow_c import Output, Session, TensorFlowError

_TYPES = (
    np.float32,
    np.float64,
    np.float16,
    ml_dtypes.bfloat16,
    np.bool_,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.complex64,
    np.complex128,
    np.object_,
)


class Model:
    """A session and the signatures of its graph."""

    def __init__(self, path: Path) -> None:
        self.session = Session(path, "serve", b"")
        self._signatures = meta_graph_pb2.MetaGraphDef.FromString(self.session.meta_graph).signature_def

    def run(self, name: str, **inputs: Any) -> dict[str, Any]:
        signature = self._signatures[name]
        feeds = [(self._output(signature.inputs[alias].name), value) for alias, value in inputs.items()]
        fetches = [self._output(one.name) for one in signature.outputs.values()]
        return dict(zip(signature.outputs, self.session.run(feeds, fetches, None), strict=True))

    def _output(self, name: str) -> Output:
        found = self.session.output(name)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Gives back what it gets, one signature for each type; ``put`` and ``get`` share a variable."""
    path = tmp_path_factory.mktemp("types") / "1"
    module = tf.Module()
    module.held = tf.Variable(tf.zeros([4]), shape=tf.TensorShape([None]))

    def same(x: Any) -> dict[str, Any]:
        return {"y": tf.identity(x)}

    def put(x: Any) -> dict[str, Any]:
        return {"y": module.held.assign(x)[:1]}

    def get() -> dict[str, Any]:
        return {"y": tf.identity(module.held)}

    def ragged(x: Any) -> dict[str, Any]:
        return {"y": tf.reshape(x, [-1]), "sum": tf.reduce_sum(x)}

    signatures = {"ragged": tf.function(ragged).get_concrete_function(x=tf.TensorSpec(None, tf.float32, name="x"))}
    for one in _TYPES:
        kind = tf.string if one is np.object_ else tf.as_dtype(one)
        signatures[one.__name__] = tf.function(same).get_concrete_function(x=tf.TensorSpec(None, kind, name="x"))
    module.put, module.get = tf.function(put), tf.function(get)
    signatures["put"] = module.put.get_concrete_function(x=tf.TensorSpec([None], tf.float32, name="x"))
    signatures["get"] = module.get.get_concrete_function()
    module.kept = list(signatures.values())
    tf.saved_model.save(module, str(path), signatures=signatures)
    one = Model(path)
    yield one
    one.session.close()
    one.session.close()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", _TYPES, ids=lambda one: one.__name__)
def test_every_type_and_shape_goes_in_and_comes_out(model: Model, dtype: Any, shape: tuple[int, ...]) -> None:
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if dtype is np.object_:
        given = np.empty(shape, object)
        # Short ones lie within TensorFlow's string, long ones outside; zero bytes end nothing.
        given.reshape(-1)[:] = [b"\0" + b"x" * (20 * int(one)) for one in numbers.reshape(-1)]
    else:
        given = numbers.astype(dtype)
    returned = model.run(dtype.__name__, x=given)["y"]
    assert (returned.dtype, returned.shape) == (given.dtype, shape)
    np.testing.assert_array_equal(returned, given)


def test_arrays_that_are_read_only_or_not_contiguous_are_taken_as_they_read(model: Model) -> None:
    given = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(model.run("float32", x=given.T)["y"], given.T)
    np.testing.assert_array_equal(model.run("float32", x=given[:, ::2])["y"], given[:, ::2])
    bytes_of_it = np.frombuffer(given.tobytes(), np.float32)
    np.testing.assert_array_equal(model.run("float32", x=bytes_of_it)["y"], bytes_of_it)


def test_several_outputs_come_in_the_order_asked_for(model: Model) -> None:
    outputs = model.run("ragged", x=np.ones((2, 3), np.float32))
    assert outputs["y"].tolist() == [1.0] * 6
    assert outputs["sum"] == 6.0


def test_what_a_graph_keeps_of_an_input_outlives_the_call(model: Model) -> None:
    # Aligned as TensorFlow wants it, so that it takes the array's own memory.
    room = np.empty(64 + 16, np.float32)
    begin = -room.ctypes.data % 64 // 4
    given = room[begin : begin + 64]
    given[:] = 7.0
    model.run("put", x=given)
    del given, room
    gc.collect()
    junk = [np.full(80, 3.0, np.float32) for _ in range(1000)]
    assert model.run("get")["y"].tolist() == [7.0] * 64
    del junk


def test_a_wrong_type_is_the_error_of_the_real_server(model: Model) -> None:
    with pytest.raises(TensorFlowError, match=r"^Expects arg\[0\] to be float but int64 is provided") as raised:
        model.run("float32", x=np.arange(3))
    assert raised.value.code == 3


def test_what_the_graph_does_not_hold_is_not_found(model: Model) -> None:
    assert model.session.output("nosuch:0") is None


def test_what_cannot_be_loaded_says_why_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(TensorFlowError) as raised:
        Session(tmp_path / "none", "serve", b"")
    assert raised.value.code == 5
    with pytest.raises(TensorFlowError) as raised:
        Session(tmp_path, "serve", b"\xff\xff")
    assert raised.value.code == 3
