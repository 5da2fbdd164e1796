"""One loaded version of a model."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from model_server import tensor_codec
from model_server.errors import ServingError
from model_server.tensorflow_c import Output, RunOptions, Session, TensorFlowError

_LOG = logging.getLogger(__name__)
_SERVE_TAG = "serve"
# A call runs where it cannot be stopped only if its time is this many times what such calls took lately.
_TIMES_THE_LONGEST = 10.0
# What a long call leaves behind fades by half within 70 calls.
_DECAY = 0.99
_MOST_SETS_OF_FETCHES = 1000
# Read by every run and never written, so one for the process is enough.
_CALLER_THREAD = RunOptions(config_pb2.RunOptions(inter_op_thread_pool=-1).SerializeToString())
# TensorFlow's codes and gRPC's are the same numbers.
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class SignatureTensor:
    """An input or output of a signature, resolved in the graph.

    Args:
        alias: What requests call it.
        name: The tensor's name in the graph.
        handle: The graph's handle; None when the graph holds no such operation.
    """

    alias: str
    name: str
    handle: Any


@dataclass(frozen=True)
class ServableSignature:
    """A signature, ready to run.

    Args:
        definition: As the model was exported.
        inputs: By alias, in the order of their names in the graph, in which errors count them.
        outputs: By alias, in alphabetical order.
        defaults: Values of inputs that may be left out.
    """

    definition: meta_graph_pb2.SignatureDef
    inputs: Mapping[str, SignatureTensor]
    outputs: Mapping[str, SignatureTensor]
    defaults: Mapping[str, NDArray[Any]]


class Servable:
    """A SavedModel in a session of its own; runs from many threads at once.

    It loads and runs through TensorFlow's C API. ``Session.run`` casts what is fed to the declared type and refuses
    shapes other than the declared ones, which the real server does not, and a signature function takes half as much
    time again (see ``tensorflow_c``, too, for why it is not loaded in Python).

    With one thread for operations side by side, the graph runs in the caller's thread, which saves two switches between
    threads (0.15 ms of a call) and lets callers run beside each other. Nothing can stop it there, so a call that may
    not end in its time goes through the session's pool, where TensorFlow stops it: one that was not seen before, and
    one that lately took more than a tenth of the time that is left.

    Args:
        path: The version's folder.
        session_config: Thread counts.
        check_method_names: Whether a signature answers only the calls that it was exported for; for those who run it.

    Raises:
        ServingError: With the code and message of TensorFlow's own loader.
    """

    def __init__(self, path: Path, session_config: config_pb2.ConfigProto, *, check_method_names: bool = False) -> None:
        _check_folder(path)
        self.path = path
        self.check_method_names = check_method_names
        self._in_caller_thread = session_config.inter_op_parallelism_threads == 1
        self._longest_ms: dict[tuple[int, ...], float] = {}
        try:
            self._session = Session(path, _SERVE_TAG, session_config.SerializeToString())
        except TensorFlowError as error:
            raise _serving_error(error) from None
        meta_graph = meta_graph_pb2.MetaGraphDef.FromString(self._session.meta_graph)
        self.signatures: Mapping[str, ServableSignature] = MappingProxyType(
            {name: self._resolve(definition) for name, definition in meta_graph.signature_def.items()}
        )

    def run(
        self, feeds: Sequence[tuple[Output, NDArray[Any]]], fetches: Sequence[Output], timeout_ms: int | None
    ) -> list[NDArray[Any]]:
        """Runs the graph.

        Args:
            feeds: Handles of inputs and their values, in the order in which errors count them.
            fetches: Handles of the outputs to compute.
            timeout_ms: Stops the run after this long; None never does.

        Raises:
            ServingError: With the code and message of the graph; DEADLINE_EXCEEDED after the timeout.
        """
        if not self._in_caller_thread:
            return self._run(feeds, fetches, _timeout_options(timeout_ms))
        key = tuple(map(id, fetches))
        longest_ms = self._longest_ms.get(key, math.inf)
        inline = timeout_ms is None or timeout_ms >= _TIMES_THE_LONGEST * longest_ms
        begin = time.perf_counter()
        try:
            outputs = self._run(feeds, fetches, _CALLER_THREAD if inline else _timeout_options(timeout_ms))
        finally:
            took_ms = (time.perf_counter() - begin) * 1000.0
            if len(self._longest_ms) >= _MOST_SETS_OF_FETCHES:
                self._longest_ms.clear()
            self._longest_ms[key] = took_ms if longest_ms == math.inf else max(took_ms, longest_ms * _DECAY)
        if timeout_ms is not None and took_ms > timeout_ms:
            raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        return outputs

    def close(self) -> None:
        """Frees the model; nothing may be running."""
        self._session.close()

    def _run(
        self, feeds: Sequence[tuple[Output, NDArray[Any]]], fetches: Sequence[Output], options: RunOptions | None
    ) -> list[NDArray[Any]]:
        try:
            return self._session.run(feeds, fetches, options)
        except TensorFlowError as error:
            raise _serving_error(error) from None

    def _resolve(self, definition: meta_graph_pb2.SignatureDef) -> ServableSignature:
        inputs = [self._tensor(alias, definition.inputs[alias].name) for alias in definition.inputs]
        outputs = [self._tensor(alias, definition.outputs[alias].name) for alias in sorted(definition.outputs)]
        return ServableSignature(
            definition,
            MappingProxyType({one.alias: one for one in sorted(inputs, key=lambda one: one.name)}),
            MappingProxyType({one.alias: one for one in outputs}),
            MappingProxyType({alias: tensor_codec.decode(value) for alias, value in definition.defaults.items()}),
        )

    def _tensor(self, alias: str, name: str) -> SignatureTensor:
        handle = self._session.output(name)
        if handle is None:
            _LOG.warning("%s: the graph holds no %s, which a signature names", self.path, name)
        return SignatureTensor(alias, name, handle)


def _timeout_options(timeout_ms: int | None) -> RunOptions | None:
    if timeout_ms is None:
        return None
    return RunOptions(config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString())


def _serving_error(error: TensorFlowError) -> ServingError:
    return ServingError(_CODES.get(error.code, grpc.StatusCode.UNKNOWN), error.message)


def _check_folder(path: Path) -> None:
    if not any((path / name).exists() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise ServingError(
            grpc.StatusCode.NOT_FOUND,
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
            f"`saved_model.pb`)\nSpecified file path: {path}",
        )
