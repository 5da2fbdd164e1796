from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information

from tests.certificates import Authority, replace
from tests.unit.gateway.http.faces import Face, face
from tests.unit.twostage.rpc.echo import ERRORS
from twostage.rpc.errors import STATUS_CODES

RECOMMEND = "/v1/recommend"
CONNECT = "/twostage.v1.RecommendationService/Recommend"
# https://connectrpc.com/docs/protocol#error-codes
HTTP_OF_CODE = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 400,
    "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 429,
    "DEADLINE_EXCEEDED": 504,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
}


@pytest.mark.parametrize("path", [RECOMMEND, CONNECT])
def test_an_answer_is_the_messages_json(open_face: Face, path: str) -> None:
    status, answer, headers = open_face.ask(path, {"userId": "ann"})
    assert status == 200
    assert answer == {
        "requestId": "r",
        "recommendations": [
            {"itemId": "i1", "score": 0.5, "title": "<b>é</b>", "actionScores": {"rated": 0.25}},
        ],
        "generation": str(2**40),
        "rung": "RUNG_FULL",
        "ranker": "größe",
    }
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_keeps_its_code_message_and_details(open_face: Face, name: str) -> None:
    error = ERRORS[name]()
    status, told, headers = open_face.ask(RECOMMEND, {"user_id": name})
    code = STATUS_CODES[type(error)].name
    assert (status, told["code"], told["message"]) == (HTTP_OF_CODE[code], code.lower(), error.message)
    details = {each["type"]: each for each in told["details"]}
    info = details["google.rpc.ErrorInfo"]
    assert info["debug"]["reason"] == error.reason
    assert info["debug"].get("metadata", {}) == error.metadata
    packed = base64.b64decode(info["value"] + "=" * (-len(info["value"]) % 4))
    assert error_details_pb2.ErrorInfo.FromString(packed).domain == "twostage"
    if name == "InvalidField":
        assert details["google.rpc.BadRequest"]["debug"]["fieldViolations"][0]["field"] == "count"
    if name == "Overloaded":
        assert details["google.rpc.RetryInfo"]["debug"] == {"retryDelay": "0.250s"}
        assert headers["retry-after"] == "1"
    assert headers.get("www-authenticate") == ("Bearer" if name == "Unauthenticated" else None)


def test_a_bug_of_the_gateway_tells_nothing(open_face: Face) -> None:
    status, told, _ = open_face.ask(RECOMMEND, {"userId": "boom"})
    assert (status, told["code"], told["message"]) == (500, "internal", "internal error")


def test_a_callers_trace_reaches_the_gateway_as_it_came(open_face: Face) -> None:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "shop=1"}
    assert open_face.ask(RECOMMEND, {}, headers=headers)[0] == 200
    metadata = dict(open_face.servicer.metadata)
    assert {name: metadata[name] for name in headers} == headers


def test_a_trace_that_cannot_be_metadata_is_left_out_and_the_request_is_answered(open_face: Face) -> None:
    assert open_face.ask(RECOMMEND, {}, headers={"traceparent": "\u00e9"})[0] == 200
    assert "traceparent" not in dict(open_face.servicer.metadata)


def test_credentials_and_request_ids_reach_the_gateway_and_nothing_else_does(open_face: Face) -> None:
    headers = {"Authorization": "Bearer t", "X-API-Key": "k", "X-Request-Id": "q", "X-Other": "o", "Cookie": "c"}
    assert open_face.ask(RECOMMEND, {}, headers=headers)[0] == 200
    metadata = dict(open_face.servicer.metadata)
    assert (metadata["authorization"], metadata["x-api-key"], metadata["x-request-id"]) == ("Bearer t", "k", "q")
    assert not {"x-other", "cookie"} & set(metadata)


def test_a_secret_that_cannot_be_metadata_is_refused_and_not_told(open_face: Face) -> None:
    status, told, _ = open_face.ask(RECOMMEND, {}, headers={"X-API-Key": "geheimß"})
    assert status == 400
    assert told["message"].startswith("x-api-key: expected printable ASCII")
    assert "geheim" not in json.dumps(told)


def test_the_callers_deadline_reaches_the_gateway_and_no_deadline_stays_none(open_face: Face) -> None:
    open_face.ask(RECOMMEND, {}, headers={"Connect-Timeout-Ms": "30000"})
    assert open_face.servicer.seconds_left is not None
    assert 20 < open_face.servicer.seconds_left < 40
    open_face.ask(RECOMMEND, {})
    assert open_face.servicer.seconds_left is None


@pytest.mark.parametrize("timeout", ["-1", "1.5", "soon", "12345678901", "१"])
def test_a_deadline_that_is_none_is_refused(open_face: Face, timeout: str) -> None:
    value = timeout.encode().decode("latin-1")
    status, told, _ = open_face.ask(RECOMMEND, {}, headers={"Connect-Timeout-Ms": value})
    assert status == 400
    assert told["message"].startswith("connect-timeout-ms: expected milliseconds")


@pytest.mark.parametrize("headers", [{"Connect-Timeout-Ms": "300"}, {}])
def test_a_gateway_that_hangs_is_waited_for_no_longer_than_said(headers: dict[str, str]) -> None:
    with face(max_wait_seconds=0.3) as hanging:
        started = time.monotonic()
        status, told, _ = hanging.ask(RECOMMEND, {"userId": "hang"}, headers=headers)
        assert (status, told["code"]) == (504, "deadline_exceeded")
        assert time.monotonic() - started < 5
        assert hanging.servicer.cancelled.wait(10), "the call was given up"


def test_a_caller_that_hangs_up_takes_its_call_with_it() -> None:
    with face() as hanging:
        connection = http.client.HTTPConnection("127.0.0.1", hanging.server.port)
        connection.request("POST", RECOMMEND, b'{"userId":"hang"}', {"Content-Type": "application/json"})
        time.sleep(0.2)
        assert not hanging.servicer.cancelled.is_set()
        connection.close()
        assert hanging.servicer.cancelled.wait(10)


def test_no_gateway_is_unavailable_and_its_address_is_not_told() -> None:
    with face() as alone:
        alone.grpc_server.stop(0)
        status, told, _ = alone.ask(RECOMMEND, {})
        assert (status, told["code"]) == (503, "unavailable")
        assert str(alone.grpc_server.port) not in json.dumps(told)
        assert alone.ask("/readyz", method="GET")[0] == 503
        assert alone.ask("/healthz", method="GET")[:2] == (200, b"ok\n")


def test_bodies_are_bounded_whether_their_length_is_said_or_not(open_face: Face) -> None:
    body = b'{"userId":"' + b"a" * 100_000 + b'"}'
    status, told, _ = open_face.ask(RECOMMEND, body)
    assert (status, told["code"]) == (413, "resource_exhausted")
    assert told["message"] == "body: expected at most 100000 bytes, received 100013 bytes"
    connection = http.client.HTTPConnection("127.0.0.1", open_face.server.port)
    chunks = iter([body[:60_000], body[60_000:]])
    connection.request("POST", RECOMMEND, chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_long_body_within_the_bound_is_taken(open_face: Face) -> None:
    excluded = [f"i{n}" for n in range(9_000)]
    assert open_face.ask(RECOMMEND, {"excludeItemIds": excluded})[0] == 200


def test_a_body_may_come_in_gzip_and_is_bounded_all_the_same(open_face: Face) -> None:
    packed = {"Content-Encoding": "gzip"}
    assert open_face.ask(RECOMMEND, gzip.compress(b'{"count": 3}'), headers=packed)[0] == 200
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    status, told, _ = open_face.ask(RECOMMEND, bomb, headers=packed)
    assert (status, told["message"]) == (413, "body: expected at most 100000 bytes, received more in gzip")
    for wrong in (b"{}", gzip.compress(b"{}")[:-4], b""):
        status, told, _ = open_face.ask(RECOMMEND, wrong, headers=packed)
        assert (status, told["code"]) == (400, "invalid_argument")
        assert told["message"].startswith("body: expected gzip")


def test_a_body_that_comes_too_slowly_is_given_up(open_face: Face) -> None:
    with socket.create_connection(("127.0.0.1", open_face.server.port), 10) as slow:
        head = [
            f"POST {RECOMMEND} HTTP/1.1",
            "Host: h",
            "Content-Type: application/json",
            "Content-Length: 20",
            "",
            "{",
        ]
        slow.sendall("\r\n".join(head).encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_whoever_connects_and_does_not_ask_is_given_up_and_keeps_nobody_out() -> None:
    beginnings = {
        "says nothing": b"",
        "stops within a head": b"POST /v1/recommend HTTP/1.1\r\nHost: h\r\n",
        "sends on what was answered unread": b"POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\na",
        "stops within a second head": b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET",
    }
    with face(max_connections=len(beginnings), body_seconds=0.3) as small:
        for beginning in beginnings.values():
            silent = socket.create_connection(("127.0.0.1", small.server.port), 10)
            silent.sendall(beginning)
            time.sleep(0.05)
            if beginning.startswith((b"POST /nothing", b"GET")):
                silent.sendall(b"b")
            threading.Thread(target=_read_to_end, args=(silent,)).start()
        # One more than may be.
        assert small.ask("/healthz", method="GET")[0] == 503
        deadline = time.monotonic() + 10
        while small.ask("/healthz", method="GET")[0] != 200:
            assert time.monotonic() < deadline, "they hold their places"
            time.sleep(0.05)


def test_as_many_connections_are_taken_as_may_be() -> None:
    with face(max_connections=1) as single:
        assert single.ask(RECOMMEND, {})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("GET", RECOMMEND, {}, 405, "HTTP method: expected POST"),
        ("POST", "/healthz", {}, 405, "HTTP method: expected GET, HEAD"),
        ("POST", "/v1/nothing", {}, 404, "path: expected one of /v1/recommend"),
        ("GET", "/../../etc/passwd", {}, 404, "path: expected"),
        ("POST", RECOMMEND, {"Content-Type": "text/plain"}, 415, "content-type: expected application/json"),
        ("POST", RECOMMEND, {"Content-Type": "application/proto"}, 415, "content-type: expected application/json"),
        ("POST", RECOMMEND, {"Content-Encoding": "br"}, 415, "content-encoding: expected gzip or none"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(
    open_face: Face, method: str, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    answered, told, _ = open_face.ask(path, {} if method == "POST" else None, method=method, headers=headers)
    assert answered == status
    assert told["message"].startswith(words)


def test_a_page_of_a_named_origin_may_ask_and_others_may_not(open_face: Face) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    status, body, headers = open_face.ask(
        RECOMMEND, method="OPTIONS", headers={"Origin": "https://shop.example", **preflight}
    )
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert "content-type" in headers["access-control-allow-headers"]
    answered = open_face.ask(RECOMMEND, {}, headers={"Origin": "https://shop.example"})[2]
    assert answered["access-control-allow-origin"] == "https://shop.example"
    strange = {"Origin": "https://evil.example"}
    status, _, headers = open_face.ask(RECOMMEND, method="OPTIONS", headers={**strange, **preflight})
    assert status == 405
    assert "access-control-allow-origin" not in headers
    assert "access-control-allow-origin" not in open_face.ask(RECOMMEND, {}, headers=strange)[2]


def test_by_default_no_page_may_ask_and_any_may_where_that_is_said() -> None:
    with face() as closed:
        headers = closed.ask(RECOMMEND, {}, headers={"Origin": "https://shop.example"})[2]
        assert not {name for name in headers if name.startswith("access-control")}
    with face(cors_origins="*") as any_may:
        headers = any_may.ask(RECOMMEND, {}, headers={"Origin": "https://shop.example"})[2]
        assert headers["access-control-allow-origin"] == "*"


def test_readiness_follows_the_gateway_and_the_stop(open_face: Face) -> None:
    assert open_face.ask("/readyz", method="GET")[:2] == (200, b"ok\n")
    open_face.grpc_server.set_not_serving()
    assert open_face.ask("/readyz", method="GET")[:2] == (503, b"the gateway does not serve\n")
    open_face.grpc_server.set_serving()
    open_face.server.app.draining = True
    assert open_face.ask("/readyz", method="GET")[:2] == (503, b"stopping\n")
    open_face.server.app.draining = False
    assert open_face.ask("/readyz", method="HEAD")[:2] == (200, b"")


def test_a_connection_is_kept_and_answers_many(open_face: Face) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", open_face.server.port)
    for _ in range(3):
        connection.request("POST", RECOMMEND, b"{}", {"Content-Type": "application/json; charset=utf-8"})
        response = connection.getresponse()
        assert (response.status, response.will_close) == (200, False)
        response.read()
    connection.close()


def test_a_stop_lets_a_request_in_flight_finish() -> None:
    with face(grace_seconds=10) as stopping:
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(stopping.ask(RECOMMEND, {"userId": "hang"})[0]))
        asking.start()
        time.sleep(0.3)
        stopping.server.stop()
        time.sleep(0.1)
        stopping.servicer.cancelled.set()
        asking.join(10)
        assert answers == [200]


def test_requests_are_counted_by_method_and_status(open_face: Face) -> None:
    def count(status: str) -> float:
        found = open_face.server.metrics.registry.get_sample_value(
            "twostage_http_requests_total", {"method": "Recommend", "status": status}
        )
        return found or 0.0

    before = count("200"), count("404")
    open_face.ask(RECOMMEND, {})
    open_face.ask(RECOMMEND, {"userId": "UserNotFound"})
    deadline = time.monotonic() + 5
    while (count("200"), count("404")) != (before[0] + 1, before[1] + 1):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestTls:
    def test_connections_are_encrypted_and_a_new_certificate_is_taken_without_a_restart(self, tmp_path: Path) -> None:
        first, second = Authority("first"), Authority("second")
        certificate, key = first.sign().write(tmp_path, "server")
        with face(tls_certificate=certificate, tls_key=key, reload_seconds=0.05) as encrypted:
            assert _ready(encrypted, first)
            # Half of a pair changes nothing.
            certificate.write_bytes(b"nonsense")
            time.sleep(0.3)
            assert _ready(encrypted, first)
            second.sign().write(tmp_path, "server")
            deadline = time.monotonic() + 10
            while not _ready(encrypted, second):
                assert time.monotonic() < deadline, "the new certificate was not taken"
                time.sleep(0.05)
            assert not _ready(encrypted, first)

    def test_clients_without_a_certificate_are_turned_away_where_one_is_asked_for(self, tmp_path: Path) -> None:
        authority = Authority()
        certificate, key = authority.sign().write(tmp_path, "server")
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        own = authority.sign("client").write(tmp_path, "client")
        with face(tls_certificate=certificate, tls_key=key, tls_client_ca=tmp_path / "ca.pem") as mutual:
            assert _ready(mutual, authority, own)
            assert not _ready(mutual, authority)

    def test_an_authority_that_is_taken_out_counts_for_no_new_connection(self, tmp_path: Path) -> None:
        authority, old, new = Authority(), Authority("old"), Authority("new")
        certificate, key = authority.sign().write(tmp_path, "server")
        trusted = tmp_path / "ca.pem"
        replace(trusted, old.pem)
        of_old, of_new = old.sign("client").write(tmp_path, "old"), new.sign("client").write(tmp_path, "new")
        with face(tls_certificate=certificate, tls_key=key, tls_client_ca=trusted, reload_seconds=0.05) as mutual:
            assert _ready(mutual, authority, of_old)
            assert not _ready(mutual, authority, of_new)
            replace(trusted, new.pem)
            deadline = time.monotonic() + 10
            while not _ready(mutual, authority, of_new):
                assert time.monotonic() < deadline, "the new authority was not taken"
                time.sleep(0.05)
            assert not _ready(mutual, authority, of_old)
            assert _metric(mutual, "twostage_reloads_total", what="tls_certificate", outcome="accepted") == 1
            assert _metric(mutual, "twostage_tls_certificate_expiry_timestamp_seconds", certificate="tls_certificate")


def _metric(one: Face, name: str, **labels: str) -> float | None:
    return one.server.metrics.registry.get_sample_value(name, labels)


def _read_to_end(connection: socket.socket) -> None:
    with connection:
        while connection.recv(4096):
            pass


def _ready(encrypted: Face, authority: Authority, own: tuple[Path, Path] | None = None) -> bool:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if own is not None:
        context.load_cert_chain(*own)
    connection = http.client.HTTPSConnection("localhost", encrypted.server.port, context=context, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b"ok\n"
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        connection.close()
