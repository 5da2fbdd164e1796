"""TensorFlow's C API, as far as it loads and runs a SavedModel: ``tensorflow/c/c_api.h`` of the installed package.

The loader behind it is the one that the real server uses, so a broken model fails with the same code and words. And
the interpreter's lock is free while a model is loaded: TensorFlow's Python holds it while it imports a graph, for a
hundred milliseconds with a few hundred layers, and every request waits that long.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2

from model_server.tensorflow_package import folder

_STRING_BYTES = 24
_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
_NUMPY_TYPES: dict[int, np.dtype[Any]] = {
    types_pb2.DT_FLOAT: np.dtype(np.float32),
    types_pb2.DT_DOUBLE: np.dtype(np.float64),
    types_pb2.DT_HALF: np.dtype(np.float16),
    types_pb2.DT_BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    types_pb2.DT_BOOL: np.dtype(np.bool_),
    types_pb2.DT_INT8: np.dtype(np.int8),
    types_pb2.DT_INT16: np.dtype(np.int16),
    types_pb2.DT_INT32: np.dtype(np.int32),
    types_pb2.DT_INT64: np.dtype(np.int64),
    types_pb2.DT_UINT8: np.dtype(np.uint8),
    types_pb2.DT_UINT16: np.dtype(np.uint16),
    types_pb2.DT_UINT32: np.dtype(np.uint32),
    types_pb2.DT_UINT64: np.dtype(np.uint64),
    types_pb2.DT_COMPLEX64: np.dtype(np.complex64),
    types_pb2.DT_COMPLEX128: np.dtype(np.complex128),
}
_NUMBERS = {dtype: number for number, dtype in _NUMPY_TYPES.items()}


def data_type(dtype: np.dtype[Any]) -> int:
    """TensorFlow's number of a data type; an array of objects holds strings.

    Raises:
        KeyError: TensorFlow has none like it here.
    """
    return types_pb2.DT_STRING if dtype.kind == "O" else _NUMBERS[dtype]


class TensorFlowError(Exception):
    """TensorFlow's own status.

    Args:
        code: Its number, which is gRPC's.
        message: Its words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Output(ctypes.Structure):
    """An operation's output: ``TF_Output``."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


# What is fed is NumPy's memory, and TensorFlow says when it has done with it: mostly when the run ends, but a graph may
# also put an input into a variable.
_fed: dict[int, NDArray[Any]] = {}
_tokens = itertools.count(1)
_DEALLOCATOR = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)


@_DEALLOCATOR
def _let_go(_data: int, _length: int, token: int) -> None:
    del _fed[token]


def _library() -> Any:
    where = folder()
    library = ctypes.CDLL(str(next(where / name for name in _LIBRARIES if (where / name).exists())))
    for name, result, arguments in (
        ("TF_NewStatus", c_void_p, ()),
        ("TF_DeleteStatus", None, (c_void_p,)),
        ("TF_GetCode", c_int, (c_void_p,)),
        ("TF_Message", c_char_p, (c_void_p,)),
        ("TF_NewBuffer", POINTER(_Buffer), ()),
        ("TF_NewBufferFromString", POINTER(_Buffer), (c_char_p, c_size_t)),
        ("TF_DeleteBuffer", None, (POINTER(_Buffer),)),
        ("TF_NewSessionOptions", c_void_p, ()),
        ("TF_SetConfig", None, (c_void_p, c_char_p, c_size_t, c_void_p)),
        ("TF_DeleteSessionOptions", None, (c_void_p,)),
        ("TF_NewGraph", c_void_p, ()),
        ("TF_DeleteGraph", None, (c_void_p,)),
        (
            "TF_LoadSessionFromSavedModel",
            c_void_p,
            (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p),
        ),
        ("TF_CloseSession", None, (c_void_p, c_void_p)),
        ("TF_DeleteSession", None, (c_void_p, c_void_p)),
        ("TF_GraphOperationByName", c_void_p, (c_void_p, c_char_p)),
        (
            "TF_SessionRun",
            None,
            (
                *(c_void_p, POINTER(_Buffer)),
                *(POINTER(Output), POINTER(c_void_p), c_int),
                *(POINTER(Output), POINTER(c_void_p), c_int),
                *(c_void_p, c_int, c_void_p, c_void_p),
            ),
        ),
        (
            "TF_NewTensor",
            c_void_p,
            (c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, _DEALLOCATOR, c_void_p),
        ),
        ("TF_AllocateTensor", c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
        ("TF_DeleteTensor", None, (c_void_p,)),
        ("TF_TensorType", c_int, (c_void_p,)),
        ("TF_NumDims", c_int, (c_void_p,)),
        ("TF_Dim", c_int64, (c_void_p, c_int)),
        ("TF_TensorByteSize", c_size_t, (c_void_p,)),
        ("TF_TensorData", c_void_p, (c_void_p,)),
        ("TF_StringInit", None, (c_void_p,)),
        ("TF_StringCopy", None, (c_void_p, c_char_p, c_size_t)),
        ("TF_StringGetSize", c_size_t, (c_void_p,)),
        ("TF_StringGetDataPointer", c_void_p, (c_void_p,)),
        ("TF_StringDealloc", None, (c_void_p,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_C = _library()


class RunOptions:
    """Options of a run, as TensorFlow reads them; may serve many runs at once.

    Args:
        content: A serialized ``RunOptions``.
    """

    def __init__(self, content: bytes) -> None:
        self.buffer = _C.TF_NewBufferFromString(content, len(content))

    # Bound here: when the interpreter ends, the module's names may be gone.
    def __del__(self, delete: Any = _C.TF_DeleteBuffer) -> None:
        delete(self.buffer)


class Session:
    """A SavedModel, loaded; runs from many threads at once.

    Args:
        path: Its folder.
        tag: Which of its graphs.
        config: A serialized ``ConfigProto``.

    Raises:
        TensorFlowError: It cannot be loaded.
    """

    def __init__(self, path: Path, tag: str, config: bytes) -> None:
        self._session = None
        options, meta_graph, status = _C.TF_NewSessionOptions(), _C.TF_NewBuffer(), _Status()
        self._graph = _C.TF_NewGraph()
        try:
            _C.TF_SetConfig(options, config, len(config), status.handle)
            status.check()
            tags = (c_char_p * 1)(tag.encode())
            self._session = _C.TF_LoadSessionFromSavedModel(
                options, None, bytes(path), tags, 1, self._graph, meta_graph, status.handle
            )
            status.check()
            content = meta_graph.contents
            self.meta_graph = ctypes.string_at(content.data, content.length)
        except BaseException:
            self.close()
            raise
        finally:
            _C.TF_DeleteBuffer(meta_graph)
            _C.TF_DeleteSessionOptions(options)

    def output(self, name: str) -> Output | None:
        """Finds what ``operation:index`` names; None when the graph holds no such operation."""
        operation, _, index = name.partition(":")
        found = _C.TF_GraphOperationByName(self._graph, operation.encode())
        return None if found is None else Output(found, int(index or 0))

    def run(
        self, feeds: Sequence[tuple[Output, NDArray[Any]]], fetches: Sequence[Output], options: RunOptions | None
    ) -> list[NDArray[Any]]:
        """Runs the graph.

        Args:
            feeds: Inputs and their values; strings as objects of ``bytes``.
            fetches: What to compute.
            options: None for the defaults.

        Returns:
            An array for each fetch.

        Raises:
            TensorFlowError: The graph's own error, or UNIMPLEMENTED for an output that is no tensor of numbers or
                strings.
        """
        feed_count, fetch_count = len(feeds), len(fetches)
        inputs, values = (Output * feed_count)(), (c_void_p * feed_count)()
        outputs, results = (Output * fetch_count)(*fetches), (c_void_p * fetch_count)()
        status = _status_of_thread()
        try:
            for i, (handle, array) in enumerate(feeds):
                inputs[i] = handle
                values[i] = _new_tensor(array)
            _C.TF_SessionRun(
                self._session,
                options.buffer if options is not None else None,
                *(inputs, values, feed_count),
                *(outputs, results, fetch_count),
                *(None, 0, None, status.handle),
            )
            status.check()
            return [_read_tensor(result) for result in results]
        finally:
            for result in results:
                if result is not None:
                    _C.TF_DeleteTensor(result)
            for value in values:
                if value is not None:
                    _delete_fed(value)

    def close(self) -> None:
        """Frees the model; nothing may be running. A second time does nothing."""
        session, self._session = self._session, None
        graph, self._graph = self._graph, None
        if session is not None:
            status = _Status()
            _C.TF_CloseSession(session, status.handle)
            _C.TF_DeleteSession(session, status.handle)
        if graph is not None:
            _C.TF_DeleteGraph(graph)


class _Status:
    def __init__(self) -> None:
        self.handle = _C.TF_NewStatus()

    def __del__(self, delete: Any = _C.TF_DeleteStatus) -> None:
        delete(self.handle)

    def check(self) -> None:
        code = _C.TF_GetCode(self.handle)
        if code:
            raise TensorFlowError(code, _C.TF_Message(self.handle).decode(errors="replace"))


_kept = threading.local()


def _status_of_thread() -> _Status:
    """A status to use again and again: each run sets it anew."""
    try:
        status: _Status = _kept.status
    except AttributeError:
        status = _kept.status = _Status()
    return status


def _new_tensor(array: NDArray[Any]) -> int:
    """Makes TensorFlow's tensor of an array's memory, of which TensorFlow makes a copy where it is not aligned."""
    dims = (c_int64 * array.ndim)(*array.shape)
    if array.dtype.kind == "O":
        return _new_strings(array, dims)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    token = next(_tokens)
    _fed[token] = array
    handle: int = _C.TF_NewTensor(
        _NUMBERS[array.dtype], dims, array.ndim, array.ctypes.data, array.nbytes, _let_go, token
    )
    return handle


def _new_strings(array: NDArray[Any], dims: Any) -> int:
    handle: int = _C.TF_AllocateTensor(types_pb2.DT_STRING, dims, array.ndim, array.size * _STRING_BYTES)
    place = _C.TF_TensorData(handle)
    for string in array.reshape(-1):
        _C.TF_StringInit(place)
        _C.TF_StringCopy(place, string, len(string))
        place += _STRING_BYTES
    return handle


def _delete_fed(handle: int) -> None:
    if _C.TF_TensorType(handle) == types_pb2.DT_STRING:
        begin = _C.TF_TensorData(handle)
        for place in range(begin or 0, (begin or 0) + _C.TF_TensorByteSize(handle), _STRING_BYTES):
            _C.TF_StringDealloc(place)
    _C.TF_DeleteTensor(handle)


def _read_tensor(handle: int | None) -> NDArray[Any]:
    number = _C.TF_TensorType(handle)
    shape = tuple(_C.TF_Dim(handle, i) for i in range(_C.TF_NumDims(handle)))
    place = _C.TF_TensorData(handle)
    if number == types_pb2.DT_STRING:
        strings = np.empty(shape, object)
        flat = strings.reshape(-1)
        for i in range(flat.size):
            at = place + i * _STRING_BYTES
            flat[i] = ctypes.string_at(_C.TF_StringGetDataPointer(at), _C.TF_StringGetSize(at))
        return strings
    dtype = _NUMPY_TYPES.get(number)
    if dtype is None:
        raise TensorFlowError(12, f"an output of {types_pb2.DataType.Name(number)} cannot be given")
    array = np.empty(shape, dtype)
    if array.nbytes:
        ctypes.memmove(array.ctypes.data, place, array.nbytes)
    return array
