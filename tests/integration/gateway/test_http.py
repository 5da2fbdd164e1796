"""JSON over HTTP says what gRPC says, over the real gateway."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.http.calls import METHODS, SERVICE
from tests.bundles import make_catalogue
from tests.integration.gateway.servers import Servers, start, stop
from twostage.client import Client
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2_grpc

IDS = make_catalogue().item_ids
# https://connectrpc.com/docs/protocol#error-codes
HTTP_OF_CODE = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "DEADLINE_EXCEEDED": 504}
# What no two answers share.
OWN = ("requestId", "timings")


@pytest.fixture(scope="module")
def face(servers: Servers) -> Iterator[ServiceProcess]:
    """The HTTP face as two processes before the real gateway."""
    process = ServiceProcess.python(
        "gateway.http",
        *("--gateway", servers.address, "--port", "0", "--metrics-port", "0", "--processes", "2"),
        name="http",
        on_line=lambda _, line: servers.lines.append(f"http: {line}"),
    )
    start(process)
    yield process
    stop(process)
    assert process.exit_code() == 0


@pytest.fixture(scope="module")
def stub(servers: Servers) -> Iterator[gateway_pb2_grpc.RecommendationServiceStub]:
    with grpc.insecure_channel(servers.address) as channel:
        yield gateway_pb2_grpc.RecommendationServiceStub(channel)


def over_http(face: ServiceProcess, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(str(face.announcement["address"]), timeout=20)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def over_grpc(stub: gateway_pb2_grpc.RecommendationServiceStub, name: str, body: dict[str, Any]) -> tuple[int, Any]:
    """What HTTP must say, from what gRPC says."""
    request = json_format.ParseDict(body, METHODS[name].request())
    try:
        answer: Message = getattr(stub, name)(request)
    except grpc.RpcError as error:
        return _error(error)
    return 200, json_format.MessageToDict(answer)


def _error(call: Any) -> tuple[int, Any]:
    status = rpc_status.from_call(call)
    details = []
    for packed in status.details:
        readable = json_format.MessageToDict(packed)
        details.append({"type": readable.pop("@type").rpartition("/")[2], "debug": readable})
    code = call.code().name
    return HTTP_OF_CODE[code], {"code": code.lower(), "message": call.details(), "details": details}


def same(one: tuple[int, Any], other: tuple[int, Any]) -> None:
    for _, told in (one, other):
        for name in OWN:
            told.pop(name, None)
        for detail in told.get("details", ()):
            detail.pop("value", None)
    assert one == other


_ids = st.sampled_from([*IDS[:30], "nix", "", "x" * 300])
_values = st.sampled_from(["eng", "fre", "mood-1", "poetry", "nix"])
_conditions = st.fixed_dictionaries(
    {"attribute": st.sampled_from(["language", "tags", "year", "nix"])},
    optional={
        "anyOf": st.lists(_values, max_size=2),
        "noneOf": st.lists(_values, max_size=2),
        "range": st.fixed_dictionaries({}, optional={"min": st.integers(1900, 2030), "max": st.integers(1900, 2030)}),
    },
)
_recommend = st.fixed_dictionaries(
    # Said, because the two are asked at two moments.
    {"context": st.just({"time": "2025-01-01T00:00:00Z"})},
    optional={
        "userId": st.sampled_from(["user-3", "nobody", "x" * 300]),
        "recentItemIds": st.lists(_ids, max_size=4),
        "interestTags": st.lists(_values, max_size=2),
        "count": st.integers(-1, 30) | st.sampled_from([200, 201]),
        "filter": st.fixed_dictionaries({"conditions": st.lists(_conditions, max_size=2)}),
        "excludeItemIds": st.lists(_ids, max_size=3),
        "includeSeen": st.booleans(),
        "diversity": st.fixed_dictionaries({"strength": st.sampled_from([0, 0.5, 1.5])}),
        "attributes": st.lists(st.sampled_from(["language", "year", "nix"]), max_size=2),
        "explain": st.booleans(),
        "trace": st.booleans(),
        "ranker": st.sampled_from(["default", "nix"]),
        # The order of a map's entries is nobody's, and a message may show all of them.
        "blend": st.dictionaries(
            st.sampled_from(["rated", "liked", "nix"]), st.sampled_from([0, 1, -1, "NaN"]), max_size=1
        ),
        "pinnedItemIds": st.lists(_ids, max_size=2),
    },
)
_similar = st.fixed_dictionaries({}, optional={"itemId": _ids, "count": st.integers(-1, 30)})
_questions = st.one_of(
    st.tuples(st.just("Recommend"), _recommend),
    st.tuples(st.just("SimilarItems"), _similar),
    st.tuples(st.just("Explain"), st.fixed_dictionaries({"itemId": _ids, "request": _recommend})),
    st.tuples(st.just("GetUser"), st.fixed_dictionaries({}, optional={"userId": st.sampled_from(["user-3", "nix"])})),
    st.tuples(st.just("DeleteUser"), st.fixed_dictionaries({}, optional={"userId": st.sampled_from(["nix", ""])})),
    st.tuples(
        st.just("RecordEvents"),
        st.fixed_dictionaries(
            {"events": st.lists(st.just({"eventId": "e", "userId": "u", "itemId": "nix"}), max_size=2)}
        ),
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(question=_questions)
def test_every_answer_and_every_error_is_grpcs(
    face: ServiceProcess, stub: gateway_pb2_grpc.RecommendationServiceStub, question: tuple[str, dict[str, Any]]
) -> None:
    name, body = question
    same(over_http(face, METHODS[name].plain_path, body), over_grpc(stub, name, body))


def test_both_paths_of_every_method_are_answered(face: ServiceProcess) -> None:
    for method in SERVICE.methods:
        for path in (METHODS[method.name].plain_path, f"/{SERVICE.full_name}/{method.name}"):
            status, told = over_http(face, path, {})
            assert status in {200, 400}, told


def test_what_is_recorded_over_http_is_seen_by_the_next_answer(face: ServiceProcess, client: Client) -> None:
    first = over_http(face, "/v1/recommend", {"userId": "http-person", "count": 3})[1]["recommendations"][0]["itemId"]
    event = {"eventId": "h1", "userId": "http-person", "itemId": first, "action": "rated", "value": 5}
    assert over_http(face, "/v1/record-events", {"events": [event]}) == (200, {"acceptedCount": 1})
    answer = over_http(face, "/v1/recommend", {"userId": "http-person", "count": 200})[1]
    assert first not in {each["itemId"] for each in answer["recommendations"]}
    stored = over_http(face, "/v1/get-user", {"userId": "http-person"})[1]
    assert [each["itemId"] for each in stored["events"]] == [first]
    assert over_http(face, "/v1/delete-user", {"userId": "http-person"}) == (200, {"deletedEventCount": 1})
    assert over_http(face, "/v1/get-user", {"userId": "http-person"})[0] == 404


def examples(document: Path) -> list[str]:
    """The curl commands of docs/http.md."""
    text = document.read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```sh\n")[1:]]
    return [part.strip() for block in blocks for part in block.split("\n\n") if part.startswith("curl ")]


DOCUMENT = Path(__file__).parents[3] / "docs" / "http.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("command", examples(DOCUMENT), ids=lambda command: command.split()[1])
def test_the_documents_examples_work(face: ServiceProcess, command: str) -> None:
    line = command.replace("localhost:8080", str(face.announcement["address"])).replace("curl ", "curl -f -s -S ", 1)
    line = line.replace('"book-17"', json.dumps(IDS[7])).replace('"book-3"', json.dumps(IDS[3]))
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=False)  # noqa: S607
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)


def test_the_documents_examples_are_there() -> None:
    assert len(examples(DOCUMENT)) >= 5


def test_python_alone_can_ask(face: ServiceProcess) -> None:
    address = f"http://{face.announcement['address']}/v1/recommend"
    request = urllib.request.Request(address, b'{"count": 2}', {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        assert len(json.load(response)["recommendations"]) == 2
    request.data = b'{"count": 0}'
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310
    with refused.value as told:
        assert json.load(told)["message"].startswith("count: expected 1 to 200")


def test_a_process_alone_ends_in_order(servers: Servers) -> None:
    process = ServiceProcess.python(
        "gateway.http",
        *("--gateway", servers.address, "--port", "0", "--metrics-port", "0"),
        name="http",
        on_line=lambda _, line: servers.lines.append(f"http: {line}"),
    )
    start(process)
    assert over_http(process, "/v1/get-status", {})[0] == 200
    os.kill(process.pid, signal.SIGINT)
    assert process.wait_stopped() == 0


def test_a_taken_port_is_said_in_one_line(face: ServiceProcess) -> None:
    port = str(face.announcement["address"]).rpartition(":")[2]
    lines: list[str] = []
    process = ServiceProcess.python(
        "gateway.http", "--port", port, name="http", on_line=lambda _, line: lines.append(line)
    )
    process.start()
    assert process.wait_stopped() == 1
    deadline = time.monotonic() + 5
    while not lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert lines == [f"http: error: cannot listen on 127.0.0.1:{port} for http: Address already in use"]
