"""The client against a real gRPC server in this process that answers as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from twostage.tfserving import (
    ModelNotFound,
    ModelServerClient,
    ModelServerDeadline,
    ModelServerError,
    ModelServerOverloaded,
    ModelServerUnavailable,
    RequestRejected,
    ResponseInvalid,
    SignatureNotFound,
    TensorError,
    TensorInfo,
    VersionState,
    VersionStatus,
    messages,
)
from twostage.tfserving.tensors import encode

Answer = Callable[[Any, grpc.ServicerContext], Any]


class Server:
    """Answers each call by what a test sets."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _request, _context: messages.PredictResponse()
        self._server = grpc.server(ThreadPoolExecutor(4))
        for service, calls in {
            "tensorflow.serving.PredictionService": {
                "Predict": messages.PredictRequest,
                "GetModelMetadata": messages.GetModelMetadataRequest,
            },
            "tensorflow.serving.ModelService": {"GetModelStatus": messages.GetModelStatusRequest},
        }.items():
            handlers: dict[str, Any] = {
                name: grpc.unary_unary_rpc_method_handler(
                    self._answer, request.FromString, lambda response: response.SerializeToString()
                )
                for name, request in calls.items()
            }
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = self.answer(request, context)
        # As every model server does: it says who answered.
        if isinstance(response, messages.PredictResponse) and not response.HasField("model_spec"):
            response.model_spec.CopyFrom(request.model_spec)
        return response

    def fail(self, code: grpc.StatusCode, message: str) -> None:
        def answer(_request: Any, context: grpc.ServicerContext) -> Any:
            context.abort(code, message)

        self.answer = answer

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


@pytest.fixture
def client(server: Server) -> Iterator[ModelServerClient]:
    with ModelServerClient(f"127.0.0.1:{server.port}", max_in_flight=2) as one:
        yield one


def test_predict_sends_what_it_is_given_and_returns_the_outputs(server: Server, client: ModelServerClient) -> None:
    requests = []

    def answer(request: Any, _context: grpc.ServicerContext) -> Any:
        requests.append(request)
        response = messages.PredictResponse()
        response.outputs["score"].CopyFrom(encode(np.array([0.5, 0.25], np.float32)))
        return response

    server.answer = answer
    items = np.ones((500, 128), np.float16)
    outputs = client.predict("ranker", 7, {"items": items}, timeout_seconds=5, signature="s", outputs=["score"])
    assert outputs.keys() == {"score"}
    assert outputs["score"].tolist() == [0.5, 0.25]
    spec = requests[0].model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("ranker", 7, "s")
    assert list(requests[0].output_filter) == ["score"]
    assert requests[0].inputs["items"].tensor_content == items.tobytes()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, ModelServerUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ModelServerDeadline),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ModelServerOverloaded),
        (grpc.StatusCode.NOT_FOUND, ModelNotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, SignatureNotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, RequestRejected),
        (grpc.StatusCode.INTERNAL, ModelServerError),
    ],
)
def test_each_status_is_an_error_of_its_own_with_code_and_message(
    server: Server, client: ModelServerClient, code: grpc.StatusCode, error: type[ModelServerError]
) -> None:
    server.fail(code, "what the server said")
    with pytest.raises(ModelServerError, match=f"{code.name}: what the server said") as raised:
        client.predict("m", 1, {}, timeout_seconds=5)
    assert type(raised.value) is error
    assert (raised.value.code, raised.value.message) == (code, "what the server said")


def test_nobody_listening_is_unavailable_at_once() -> None:
    begin = time.monotonic()
    with ModelServerClient("127.0.0.1:1") as client, pytest.raises(ModelServerUnavailable):
        client.predict("m", 1, {}, timeout_seconds=30)
    assert time.monotonic() - begin < 5


def test_time_that_runs_out_is_a_deadline(server: Server, client: ModelServerClient) -> None:
    release = threading.Event()
    server.answer = lambda _request, _context: release.wait(10)
    with pytest.raises(ModelServerDeadline):
        client.predict("m", 1, {}, timeout_seconds=0.1)
    release.set()


def test_without_time_left_nothing_is_sent(server: Server, client: ModelServerClient) -> None:
    server.fail(grpc.StatusCode.INTERNAL, "was asked")
    with pytest.raises(ModelServerDeadline, match="no time left"):
        client.predict("m", 1, {}, timeout_seconds=0)


def test_one_call_more_than_allowed_is_refused_here_and_places_come_back(
    server: Server, client: ModelServerClient
) -> None:
    release, arrived = threading.Event(), threading.Semaphore(0)

    def answer(_request: Any, _context: grpc.ServicerContext) -> Any:
        arrived.release()
        release.wait(10)
        return messages.PredictResponse()

    server.answer = answer
    with ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(client.predict, "m", 1, {}, timeout_seconds=10) for _ in range(2)]
        assert all(arrived.acquire(timeout=10) for _ in calls)
        with pytest.raises(ModelServerOverloaded, match=r"2 calls to .* are in flight already"):
            client.predict("m", 1, {}, timeout_seconds=10)
        release.set()
        assert [call.result() for call in calls] == [{}, {}]
    # A failure gives its place back too.
    for _ in range(3):
        with pytest.raises(TensorError):
            client.predict("m", 1, {"a": np.zeros(1, "datetime64[D]")}, timeout_seconds=5)
    assert client.predict("m", 1, {}, timeout_seconds=5) == {}


def test_an_answer_that_cannot_be_read_is_an_invalid_response(server: Server, client: ModelServerClient) -> None:
    response = messages.PredictResponse()
    response.outputs["score"].CopyFrom(encode(np.zeros(2, np.float32)))
    response.outputs["score"].tensor_content = b"short"
    server.answer = lambda _request, _context: response
    with pytest.raises(ResponseInvalid, match="output 'score': tensor_content of shape"):
        client.predict("m", 1, {}, timeout_seconds=5)


def test_an_answer_beyond_the_usual_4_mib_is_read(server: Server, client: ModelServerClient) -> None:
    many = np.arange(2_000_000, dtype=np.float32)
    response = messages.PredictResponse()
    response.outputs["score"].CopyFrom(encode(many))
    server.answer = lambda _request, _context: response
    np.testing.assert_array_equal(client.predict("m", 1, {}, timeout_seconds=10)["score"], many)


def test_states_are_told_by_version(server: Server, client: ModelServerClient) -> None:
    response = messages.GetModelStatusResponse()
    response.model_version_status.add(version=4, state=30)
    failed = response.model_version_status.add(version=3, state=50)
    failed.status.error_code, failed.status.error_message = 5, "no such file"
    server.answer = lambda _request, _context: response
    assert client.model_status("m", None, 5) == {
        4: VersionStatus(VersionState.AVAILABLE),
        3: VersionStatus(VersionState.END, 5, "no such file"),
    }


def test_signatures_are_told_with_types_and_shapes(server: Server, client: ModelServerClient) -> None:
    signatures = messages.SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["items"].dtype = 19
    for size in (-1, 128):
        signature.inputs["items"].tensor_shape.dim.add(size=size)
    signature.outputs["score"].dtype = 1
    signature.outputs["score"].tensor_shape.unknown_rank = True
    response = messages.GetModelMetadataResponse()
    response.metadata["signature_def"].value = signatures.SerializeToString()
    server.answer = lambda _request, _context: response
    told = client.metadata("m", 1, 5)["serving_default"]
    assert told.inputs == {"items": TensorInfo("DT_HALF", (None, 128))}
    assert told.outputs == {"score": TensorInfo("DT_FLOAT", None)}
    assert told.method_name == "tensorflow/serving/predict"


def test_metadata_without_signatures_is_an_invalid_response(server: Server, client: ModelServerClient) -> None:
    server.answer = lambda _request, _context: messages.GetModelMetadataResponse()
    with pytest.raises(ResponseInvalid, match="no signature_def"):
        client.metadata("m", 1, 5)


@pytest.mark.parametrize(("target", "limit", "message"), [("", 1, "target: "), ("a:1", 0, r"max_in_flight: .* got 0")])
def test_a_bad_setting_is_refused_by_name(target: str, limit: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelServerClient(target, limit)
