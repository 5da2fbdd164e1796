"""Bad and changing credentials, with a gateway and a retrieval server as processes, TLS on every way.

Ranking is not there: answers stand on RETRIEVAL_ORDER while the gateway and retrieval believe each other.
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.bundles import make_store
from tests.certificates import Authority, Pair, mount, replace
from tests.integration.gateway.servers import start, stop
from tests.ports import free_port
from tests.unit.gateway.access.tokens import jwk_set, public_jwk, token_of_now
from twostage.client import CallFailed, Client, GatewayUnavailable, PermissionDenied, Unauthenticated
from twostage.processes import ServiceProcess
from twostage.rpc.security.api_keys import key_digest, new_key
from twostage.v1 import gateway_pb2

AUTHORITY, STRANGER = Authority(), Authority("stranger")
KEY, SITE_KEY = new_key(), new_key()
RELOAD_SECONDS = 0.1


@dataclass
class Servers:
    """The processes, their files, and a client of theirs."""

    folder: Path
    gateway: ServiceProcess
    retrieval: ServiceProcess
    metrics_port: int
    lines: list[str]
    client_pair: Pair

    def client(self, **changed: Any) -> Client:
        certificate, key = self.folder / "client.crt", self.folder / "client.key"
        usual = {
            "tls_ca": self.folder / "ca.pem",
            "tls_certificate": certificate,
            "tls_key": key,
            "timeout_seconds": 10,
        }
        address = str(self.gateway.announcement["address"])
        return Client(address, **{**usual, "api_key": KEY, **changed})

    def ask(self, **changed: Any) -> gateway_pb2.RecommendResponse:
        with self.client(**changed) as client:
            return client.recommend(recent_item_ids=["item-3"], count=5)

    def failure(self, **changed: Any) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            self.ask(**changed)
        return caught.value

    def metric(self, name: str) -> float:
        from urllib.request import urlopen  # noqa: PLC0415 - only here

        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            for line in page.read().decode().splitlines():
                if line.startswith(name):
                    return float(line.rpartition(" ")[2])
        return 0.0

    def shown_serial(self) -> int:
        """The serial number of the certificate that a new connection is shown."""
        import socket  # noqa: PLC0415 - only here
        import ssl  # noqa: PLC0415 - only here

        from cryptography import x509  # noqa: PLC0415 - only here

        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        context.set_alpn_protocols(["h2"])
        host, port = str(self.gateway.announcement["address"]).split(":")
        with (
            socket.create_connection((host, int(port)), 10) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


def write_clients(folder: Path, *keys: str) -> None:
    hashes = ", ".join(f"{{sha256: {key_digest(key).hex()}}}" for key in keys)
    text = (
        f"clients:\n  - {{name: shop, keys: [{hashes}]}}\n"
        f"  - {{name: site, keys: [{{sha256: {key_digest(SITE_KEY).hex()}}}], methods: [SimilarItems]}}\n"
        'jwt: {jwks_file: jwks.json, issuer: "https://id.example", audience: twostage, leeway_seconds: 0}\n'
    )
    replace(folder / "clients.yaml", text.encode())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("credentials")
    make_store(folder / "store", item_count=100)
    lines: list[str] = []

    def process(module: str, **flags: object) -> ServiceProcess:
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        return ServiceProcess.python(
            module,
            *(f"--store={folder / 'store'}", *arguments, f"--config={folder / 'config.yaml'}"),
            name=module,
            on_line=lambda name, line: lines.append(f"{name}: {line}"),
        )

    (folder / "config.yaml").write_text(f"reload_seconds: {RELOAD_SECONDS}\n")
    (folder / "ca.pem").write_bytes(AUTHORITY.pem)
    (folder / "jwks.json").write_bytes(jwk_set())
    write_clients(folder, KEY)
    own = AUTHORITY.sign("client", names=())
    own.write(folder, "client")
    for name, pair in (("gateway", AUTHORITY.sign()), ("retrieval", AUTHORITY.sign(names=("retrieval.internal",)))):
        mount(folder / name, "v1", {"tls.crt": pair.certificate, "tls.key": pair.key})
    AUTHORITY.sign("gateway", names=("gateway.internal",)).write(folder, "stage")
    port, metrics_port = free_port(), free_port()
    retrieval = process(
        "retrieval_service",
        port=port,
        metrics_port=0,
        tls_certificate=folder / "retrieval" / "tls.crt",
        tls_key=folder / "retrieval" / "tls.key",
        tls_client_ca=folder / "ca.pem",
        tls_client_names="gateway.internal",
    )
    gateway = process(
        "gateway",
        port=0,
        metrics_port=metrics_port,
        users=folder / "users.sqlite",
        retrieval=f"127.0.0.1:{port}",
        ranking="127.0.0.1:1",
        clients=folder / "clients.yaml",
        tls_certificate=folder / "gateway" / "tls.crt",
        tls_key=folder / "gateway" / "tls.key",
        tls_client_ca=folder / "ca.pem",
        stage_tls_ca=folder / "ca.pem",
        stage_tls_certificate=folder / "stage.crt",
        stage_tls_key=folder / "stage.key",
        stage_tls_server_name="retrieval.internal",
    )
    try:
        start(retrieval, gateway)
        yield Servers(folder, gateway, retrieval, metrics_port, lines, own)
    finally:
        stop(gateway)
        stop(retrieval)
    assert not [line for line in lines if "Traceback" in line]
    for secret in (KEY, SITE_KEY):
        assert not [line for line in lines if secret in line]


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


@contextmanager
def load(servers: Servers, *, reconnecting: bool) -> Iterator[list[gateway_pb2.RecommendResponse]]:
    """Three callers ask until it is left; none of their calls may fail."""
    over = threading.Event()
    answers: list[gateway_pb2.RecommendResponse] = []
    failures: list[str] = []

    def run() -> None:
        client = servers.client()
        while not over.is_set():
            try:
                answers.append(client.recommend(recent_item_ids=["item-3"], count=5))
                if reconnecting:
                    client.close()
                    client = servers.client()
            except CallFailed as error:
                failures.append(str(error))
            time.sleep(0.005)
        client.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(answers) > 10)
        yield answers
        count = len(answers)
        eventually(lambda: len(answers) > count + 10)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_right_credentials_are_answered_from_retrieval(servers: Servers) -> None:
    eventually(lambda: servers.ask().rung == gateway_pb2.RUNG_RETRIEVAL_ORDER)
    assert len(servers.ask(api_key=None, token=token_of_now("shop")).recommendations) == 5


def test_wrong_certificates_get_no_connection_and_cost_nobody_else_theirs(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "other-ca.pem").write_bytes(STRANGER.pem)
    unavailable: list[dict[str, Any]] = [
        {"tls_ca": tmp_path / "other-ca.pem"},
        {"tls_certificate": None, "tls_key": None},
        {"tls_ca": None, "tls_certificate": None, "tls_key": None},
        {"tls_server_name": "somebody.else"},
    ]
    for name, pair in (
        ("stranger", STRANGER.sign()),
        ("expired", AUTHORITY.sign(ends=timedelta(minutes=-1))),
        ("early", AUTHORITY.sign(begins=timedelta(hours=1))),
    ):
        certificate, key = pair.write(tmp_path, name)
        unavailable.append({"tls_certificate": certificate, "tls_key": key})
    for parts in unavailable:
        assert isinstance(servers.failure(**parts), GatewayUnavailable), parts
        assert len(servers.ask().recommendations) == 5


def test_wrong_keys_and_tokens_are_all_told_the_same(servers: Servers) -> None:
    now = time.time()
    claims = {"iss": "https://id.example", "aud": "twostage", "sub": "shop", "exp": now + 60}
    unsigned = f"{_part({'alg': 'none'})}.{_part(claims)}."
    head = f"{_part({'alg': 'HS256', 'kid': 'RS256'})}.{_part(claims)}"
    mac = hmac.digest((servers.folder / "jwks.json").read_bytes(), head.encode(), "sha256")
    wrong: list[dict[str, Any]] = [
        {"api_key": new_key()},
        {"api_key": None, "token": token_of_now("shop", seconds=-1)},
        {"api_key": None, "token": token_of_now("shop", nbf=now + 3600)},
        {"api_key": None, "token": unsigned},
        {"api_key": None, "token": f"{head}.{_b64(mac)}"},
        {"api_key": None, "token": token_of_now("shop", aud="somebody else")},
    ]
    told = {str(servers.failure(**parts)) for parts in wrong}
    assert len(told) == 1
    assert "UNAUTHENTICATED" in told.pop()
    assert isinstance(servers.failure(api_key=None), Unauthenticated)
    assert isinstance(servers.failure(api_key=SITE_KEY), PermissionDenied)
    assert isinstance(servers.failure(api_key=None, token=token_of_now("nobody")), PermissionDenied)


def _part(document: dict[str, Any]) -> str:
    return _b64(json.dumps(document).encode())


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_a_token_ends_while_it_is_used(servers: Servers) -> None:
    token = token_of_now("shop", seconds=1.5)
    with servers.client(api_key=None, token=token) as client:
        client.recommend(count=1)
        eventually(partial(_is_refused, client), 10)


def _is_refused(client: Client) -> bool:
    try:
        client.recommend(count=1)
    except Unauthenticated:
        return True
    return False


def test_a_key_is_replaced_under_load_without_a_failed_call(servers: Servers) -> None:
    following = new_key()
    with load(servers, reconnecting=False):
        write_clients(servers.folder, KEY, following)
        eventually(lambda: not _fails(servers, following))
        # By now every client could have gone over to the new key; these have not, and still are answered.
    write_clients(servers.folder, following)
    eventually(lambda: isinstance(_failure(servers, KEY), Unauthenticated))
    assert len(servers.ask(api_key=following).recommendations) == 5
    write_clients(servers.folder, KEY)
    eventually(lambda: not _fails(servers, KEY))


def _failure(servers: Servers, key: str) -> CallFailed | None:
    try:
        servers.ask(api_key=key)
    except CallFailed as error:
        return error
    return None


def _fails(servers: Servers, key: str) -> bool:
    return _failure(servers, key) is not None


def test_a_broken_clients_file_under_load_changes_nothing(servers: Servers) -> None:
    with load(servers, reconnecting=False):
        replace(servers.folder / "clients.yaml", b"clients: [")
        eventually(lambda: servers.metric('twostage_reload_refused{what="clients"}') == 1)
    assert any("changed files are not used" in line for line in servers.lines)
    write_clients(servers.folder, KEY)
    eventually(lambda: servers.metric('twostage_reload_refused{what="clients"}') == 0)


def test_signing_keys_are_replaced_under_load_without_a_failed_call(servers: Servers) -> None:
    with load(servers, reconnecting=False):
        replace(servers.folder / "jwks.json", jwk_set(public_jwk("EdDSA")))
        old = token_of_now("shop", "ES256")
        eventually(lambda: _token_is_refused(servers, old))
        servers.ask(api_key=None, token=token_of_now("shop", "EdDSA"))
        replace(servers.folder / "jwks.json", jwk_set())
        eventually(lambda: not _token_is_refused(servers, old))


def _token_is_refused(servers: Servers, token: str) -> bool:
    try:
        servers.ask(api_key=None, token=token)
    except Unauthenticated:
        return True
    return False


@pytest.mark.parametrize("reconnecting", [False, True])
def test_the_gateways_certificate_is_replaced_under_load_without_a_failed_call(
    servers: Servers, reconnecting: bool
) -> None:
    pair = AUTHORITY.sign()
    with load(servers, reconnecting=reconnecting):
        mount(servers.folder / "gateway", f"v2-{reconnecting}", {"tls.crt": pair.certificate, "tls.key": pair.key})
        eventually(lambda: servers.shown_serial() == pair.parsed.serial_number)
    expiry = servers.metric('twostage_tls_certificate_expiry_timestamp_seconds{certificate="tls_certificate"}')
    assert expiry == pair.parsed.not_valid_after_utc.timestamp()


def test_the_stages_certificates_are_replaced_under_load_and_no_answer_gets_poorer(servers: Servers) -> None:
    eventually(lambda: servers.ask().rung == gateway_pb2.RUNG_RETRIEVAL_ORDER)
    server, own = AUTHORITY.sign(names=("retrieval.internal",)), AUTHORITY.sign("gateway", names=("gateway.internal",))
    name = 'twostage_reloads_total{outcome="accepted",what="stage_tls_certificate"}'
    before = servers.metric(name)
    with load(servers, reconnecting=False) as answers:
        mount(servers.folder / "retrieval", "v2", {"tls.crt": server.certificate, "tls.key": server.key})
        own.write(servers.folder, "stage")
        eventually(lambda: servers.metric(name) > before)
        time.sleep(3 * RELOAD_SECONDS)
    assert {answer.rung for answer in answers} == {gateway_pb2.RUNG_RETRIEVAL_ORDER}


def test_a_stage_that_is_believed_no_more_costs_rungs_and_no_answers(servers: Servers) -> None:
    good = [(servers.folder / "retrieval" / name).read_bytes() for name in ("tls.crt", "tls.key")]
    bad = STRANGER.sign(names=("retrieval.internal",))
    mount(servers.folder / "retrieval", "v3", {"tls.crt": bad.certificate, "tls.key": bad.key})
    # Connections that stand go on; the next ones are not made.
    AUTHORITY.sign("gateway", names=("gateway.internal",)).write(servers.folder, "stage")
    eventually(lambda: servers.ask().rung in {gateway_pb2.RUNG_POPULAR, gateway_pb2.RUNG_CACHED})
    mount(servers.folder / "retrieval", "v4", {"tls.crt": good[0], "tls.key": good[1]})
    eventually(lambda: servers.ask().rung == gateway_pb2.RUNG_RETRIEVAL_ORDER)


def test_whoever_speaks_no_tls_gets_no_answer(servers: Servers) -> None:
    address = str(servers.gateway.announcement["address"])
    with Client(address, timeout_seconds=5, api_key=KEY) as client, pytest.raises(GatewayUnavailable):
        client.recommend()
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(0.5)
    assert len(servers.ask().recommendations) == 5
