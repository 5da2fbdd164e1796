"""The REST port over a real model: what probes and scrapers see."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tensorflow.core.protobuf import config_pb2

from model_server.config import ModelConfig, VersionPolicy
from model_server.core import Core
from model_server.http_endpoint import HttpEndpoint
from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest import RestAnswer, RestApi
from model_server.servable import Servable
from twostage.rpc.address import AddressUnavailable

_PATH = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def core(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """Versions 1 and 2 of a model under a name that needs quoting, and one that is gone again."""
    base = tmp_path_factory.mktemp("rest")
    for version in ("1", "2"):
        shutil.copytree(model, base / version)
    lifecycle = Lifecycle(lambda path: Servable(path, config_pb2.ConfigProto()))
    core = Core(lifecycle, poll_seconds=0, allow_unavailable_labels=True)
    policy = VersionPolicy(latest_count=None)
    models = {"a b/ü": ModelConfig("a b/ü", base, policy, MappingProxyType({"stable": 1}))}
    gone = ModelConfig("gone", base, VersionPolicy(latest_count=1))
    assert core.start({**models, "gone": gone})
    while len([one for one in core.versions("a b/ü") if one.state == 30]) < 2:
        time.sleep(0.01)
    core.reload(models)
    yield core
    core.stop()


@pytest.fixture
def api(core: Core) -> RestApi:
    return RestApi(core, Metrics(), _PATH)


def _json(answer: RestAnswer) -> Any:
    assert answer.content_type == "application/json"
    return json.loads(answer.body)


def test_status_is_worded_as_by_the_real_server(api: RestApi) -> None:
    answer = api.answer("GET", "/v1/models/a%20b%2F%C3%BC/versions/2")
    assert answer.status == 200
    assert answer.body.decode() == (
        '{\n "model_version_status": [\n  {\n   "version": "2",\n   "state": "AVAILABLE",\n   "status": {\n'
        '    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


def test_all_versions_are_listed_descending_and_a_label_changes_nothing(api: RestApi) -> None:
    for path in ("/v1/models/a%20b%2F%C3%BC", "/V1/Models/a%20b%2F%C3%BC/labels/none"):
        listed = _json(api.answer("GET", path))["model_version_status"]
        assert [one["version"] for one in listed] == ["2", "1"]


def test_a_model_that_is_gone_still_has_a_status_but_no_metadata(api: RestApi) -> None:
    assert api.answer("GET", "/v1/models/gone").status == 200
    answer = api.answer("GET", "/v1/models/gone/metadata")
    assert (answer.status, _json(answer)) == (404, {"error": "Servable not found for request: Latest(gone)"})


def test_metadata_names_the_version_and_every_signature(api: RestApi) -> None:
    for path, version in (("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")):
        answer = api.answer("GET", f"/v1/models/a%20b%2F%C3%BC{path}/metadata")
        assert answer.status == 200
        assert answer.body.startswith(b'{\n"model_spec":{\n "name": "a b/\xc3\xbc",\n')
        found = _json(answer)
        assert found["model_spec"] == {"name": "a b/ü", "signature_name": "", "version": version}
        signatures = found["metadata"]["signature_def"]["signature_def"]
        assert set(signatures) == {"serving_default", "__saved_model_init_op"}
        one = signatures["serving_default"]
        assert one["method_name"] == "tensorflow/serving/predict"
        shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
        assert one["inputs"]["a"]["dtype"] == "DT_FLOAT"
        assert one["inputs"]["a"]["tensor_shape"] == shape


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/gone/versions/9", 404, "Could not find version 9 of model gone"),
        ("GET", "/v1/models/nope/versions/9/metadata", 404, "Servable not found for request: Specific(nope, 9)"),
        ("GET", "/v1/models/gone/labels/x/metadata", 400, "Unrecognized servable version label: x"),
        ("GET", "/v1/models/m/versions/99999999999999999999", 400, "Failed to convert version: 99999999999999999999 t"),
        ("GET", f"/v1/models/m/versions/{'9' * 5000}", 400, "Failed to convert version: 999"),
        ("GET", f"/v1/models/gone/versions/{'0' * 5000}9", 404, "Could not find version 9 of model gone"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/m/other", 400, "Malformed request: GET /v1/models/m/other"),
        ("GET", "/v1/models/m:predict", 400, "Malformed request: GET /v1/models/m:predict"),
        ("POST", "/v1/models/m", 400, "Malformed request: POST /v1/models/m"),
        ("DELETE", "/v1/models/m", 400, "Malformed request: DELETE /v1/models/m"),
        ("GET", "/", 404, "Not found: GET /"),
    ],
)
def test_what_cannot_be_answered_says_why(api: RestApi, method: str, path: str, status: int, error: str) -> None:
    answer = api.answer(method, path)
    assert answer.status == status
    assert _json(answer)["error"].startswith(error)


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress"])
@pytest.mark.parametrize("choice", ["", "/versions/1", "/labels/stable"])
def test_predictions_are_sent_to_grpc(api: RestApi, method: str, choice: str) -> None:
    answer = api.answer("POST", f"/v1/models/m{choice}:{method.lower()}")
    assert answer.status == 501
    assert _json(answer)["error"].endswith(f"call tensorflow.serving.PredictionService/{method} over gRPC")


def test_requests_are_counted_and_metrics_shown_only_where_told(core: Core) -> None:
    metrics = Metrics()
    api = RestApi(core, metrics, "/metrics")
    api.answer("GET", "/v1/models/gone")
    api.answer("GET", "/v1/models/nope")
    page = api.answer("GET", "/metrics")
    assert (page.status, page.content_type) == (200, "text/plain")
    assert b':tensorflow:serving:request_count{model_name="gone",status="OK"} 1\n' in page.body
    assert b':tensorflow:serving:request_count{model_name="nope",status="NOT_FOUND"} 1\n' in page.body
    labels = b'{model_name="gone",API="",entrypoint="REST"}'
    assert b":tensorflow:serving:request_latency_count" + labels + b" 1\n" in page.body
    assert RestApi(core, metrics, None).answer("GET", _PATH).status == 404


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    def answer(method: str, path: str) -> RestAnswer:
        return RestAnswer(200, "text/plain", f"{method} {path}".encode())

    endpoint = HttpEndpoint(answer, "127.0.0.1", 0, thread_count=2, timeout_seconds=0.5)
    yield endpoint
    endpoint.close()


def _ask(endpoint: HttpEndpoint, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(endpoint.address, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_port_hands_over_method_and_path_without_the_query(endpoint: HttpEndpoint) -> None:
    assert _ask(endpoint, "GET", "/v1/x%20y?z=1") == (200, b"GET /v1/x%20y")
    assert _ask(endpoint, "POST", "/v1/x:predict", b"{}" * 100_000) == (200, b"POST /v1/x:predict")
    assert _ask(endpoint, "HEAD", "/v1/x") == (200, b"")


def test_a_length_of_a_body_that_is_beyond_numbers_costs_nobody_the_answer(endpoint: HttpEndpoint) -> None:
    host, _, port = endpoint.address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(b"POST /x HTTP/1.0\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read().endswith(b"POST /x")


def test_clients_that_say_nothing_are_hung_up_on_and_hold_nobody_back(endpoint: HttpEndpoint) -> None:
    host, _, port = endpoint.address.rpartition(":")
    with socket.create_connection((host, int(port))) as first, socket.create_connection((host, int(port))) as second:
        began = time.monotonic()
        assert _ask(endpoint, "GET", "/late") == (200, b"GET /late")
        assert time.monotonic() - began < 5
        assert first.recv(1) == second.recv(1) == b""


def test_a_taken_port_is_told_and_a_closed_one_is_free() -> None:
    def answer(_method: str, _path: str) -> RestAnswer:
        return RestAnswer(200, "text/plain", b"")

    endpoint = HttpEndpoint(answer, "127.0.0.1", 0, thread_count=1, timeout_seconds=1)
    port = int(endpoint.address.rpartition(":")[2])
    with pytest.raises(AddressUnavailable, match=f"cannot listen on 127.0.0.1:{port} for REST"):
        HttpEndpoint(answer, "127.0.0.1", port, thread_count=1, timeout_seconds=1)
    endpoint.close()
    HttpEndpoint(answer, "127.0.0.1", port, thread_count=1, timeout_seconds=1).close()
    assert not [thread for thread in threading.enumerate() if thread.name == "rest"]
