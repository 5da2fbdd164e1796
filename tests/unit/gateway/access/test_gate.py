from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import CapturingLogger

from gateway.access.clients import read_clients
from gateway.access.gate import ClientGate
from tests.certificates import replace
from tests.unit.gateway.access.tokens import Clock, jwk_set, public_jwk, token
from twostage.client import CallFailed, Client, PermissionDenied, Unauthenticated, new_event
from twostage.rpc import caller
from twostage.rpc.caller import Caller
from twostage.rpc.security.api_keys import key_digest, new_key
from twostage.rpc.security.metrics import SecurityMetrics
from twostage.rpc.security.reloading import Reloaded
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings, SettingsError
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

SHOP_KEY, SHOP_NEXT_KEY, SITE_KEY = new_key(), new_key(), new_key()


def sha256(key: str) -> str:
    return key_digest(key).hex()


CLIENTS = f"""
clients:
  - name: shop
    keys: [{{sha256: {sha256(SHOP_KEY)}}}, {{sha256: {sha256(SHOP_NEXT_KEY).upper()}}}]
    priority: 8
    requests_per_second: 100
    burst: 7
    may_explain: true
  - name: site
    keys: [{{sha256: {sha256(SITE_KEY)}}}]
    methods: [Recommend]
"""
JWT = 'jwt: {jwks_file: jwks.json, issuer: "https://id.example", audience: twostage}\n'
ANONYMOUS = "anonymous: {priority: 1}\n"


class Servicer(gateway_pb2_grpc.RecommendationServiceServicer):
    """Notes who calls."""

    # ruff: noqa: ARG002 - gRPC's signatures
    def __init__(self) -> None:
        self.callers: list[Caller] = []

    def Recommend(self, request: Any, context: Any) -> gateway_pb2.RecommendResponse:  # noqa: N802
        self.callers.append(caller.current())
        return gateway_pb2.RecommendResponse()

    def RecordEvents(self, request: Any, context: Any) -> gateway_pb2.RecordEventsResponse:  # noqa: N802
        return gateway_pb2.RecordEventsResponse()

    def GetStatus(self, request: Any, context: Any) -> gateway_pb2.RecommendationServiceGetStatusResponse:  # noqa: N802
        return gateway_pb2.RecommendationServiceGetStatusResponse()


@dataclass
class Gateway:
    folder: Path
    server: ServiceServer
    clients: Reloaded[Any]
    clock: Clock
    servicer: Servicer
    logger: Any = field(default_factory=CapturingLogger)

    def ask(self, **who: Any) -> Caller:
        """Who the servicer sees when a client with these credentials asks."""
        with Client(self.server.address, timeout_seconds=10, **who) as client:
            client.recommend()
        return self.servicer.callers[-1]

    def raw(self, *metadata: tuple[str, str | bytes]) -> Caller:
        with grpc.insecure_channel(self.server.address) as channel:
            stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
            stub.Recommend(gateway_pb2.RecommendRequest(), timeout=10, metadata=metadata)
        return self.servicer.callers[-1]

    def write(self, text: str) -> bool:
        replace(self.folder / "clients.yaml", text.encode())
        return self.clients.look()

    def refused_count(self, why: str) -> float | None:
        registry = self.server.metrics.registry
        return registry.get_sample_value("twostage_gateway_refused_callers_total", {"why": why})


@contextmanager
def running(folder: Path, text: str) -> Iterator[Gateway]:
    (folder / "clients.yaml").write_text(text)
    (folder / "jwks.json").write_bytes(jwk_set())
    clock, servicer, registry = Clock(), Servicer(), CollectorRegistry()
    logger: Any = CapturingLogger()
    metrics = SecurityMetrics(registry)
    path = folder / "clients.yaml"
    clients = Reloaded("clients", [path], partial(read_clients, path, clock), metrics, logger)
    server = ServiceServer(
        "gateway",
        ["twostage.v1.RecommendationService"],
        lambda grpc_server: gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, grpc_server),
        ServiceSettings(log_requests="all"),
        registry=registry,
        logger=logger,
        gates=[ClientGate(clients, registry)],
        security=metrics,
    )
    with server:
        yield Gateway(folder, server, clients, clock, servicer, logger)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path, CLIENTS + JWT) as gateway:
        yield gateway


def failure(ask: Callable[[], object]) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        ask()
    return caught.value


def test_a_key_says_who_calls_and_what_they_may(gateway: Gateway) -> None:
    shop = Caller("shop", 8, 100.0, 7, may_explain=True)
    assert gateway.ask(api_key=SHOP_KEY) == shop
    assert gateway.ask(api_key=SHOP_NEXT_KEY) == shop
    assert gateway.ask(api_key=SITE_KEY) == Caller("site", 5, None, 1, may_explain=False)


def test_a_token_does_too_and_a_function_is_asked_for_one_at_every_call(gateway: Gateway) -> None:
    assert gateway.ask(token=token()).name == "shop"
    tokens = iter([token("RS256"), token("EdDSA", sub="site")])
    with Client(gateway.server.address, timeout_seconds=10, token=lambda: next(tokens)) as client:
        client.recommend()
        client.recommend()
    assert [each.name for each in gateway.servicer.callers[-2:]] == ["shop", "site"]


def test_who_says_nothing_is_told_what_is_expected(gateway: Gateway) -> None:
    error = failure(gateway.ask)
    assert isinstance(error, Unauthenticated)
    assert "expected the metadata x-api-key, or authorization with Bearer and a token, received neither" in str(error)
    assert gateway.refused_count("missing") == 1


def test_all_wrong_credentials_get_the_same_answer_which_shows_nothing_of_them(gateway: Gateway) -> None:
    wrong: list[dict[str, Any]] = [
        {"api_key": new_key()},
        {"api_key": SHOP_KEY[:-1]},
        {"api_key": SHOP_KEY + "x"},
        {"api_key": SHOP_KEY.upper()},
        {"api_key": sha256(SHOP_KEY)},
        {"api_key": "x" * 5000},
        {"token": "nonsense"},
        {"token": token(iss="https://evil.example")},
        {"token": token(exp=gateway.clock.now - 100)},
        {"token": SHOP_KEY},
    ]
    told = set()
    for who in wrong:
        error = failure(partial(gateway.ask, **who))
        assert isinstance(error, Unauthenticated)
        told.add(str(error))
    assert len(told) == 1
    assert "the credentials are not valid" in told.pop()
    assert gateway.servicer.callers == []
    written = str(gateway.logger.calls) + generate_latest(gateway.server.metrics.registry).decode()
    for who in wrong:
        for secret in who.values():
            assert str(secret) not in written
    assert "token_expired" in written


def test_several_credentials_are_none(gateway: Gateway) -> None:
    for metadata in (
        (("x-api-key", SHOP_KEY), ("x-api-key", SHOP_KEY)),
        (("x-api-key", SHOP_KEY), ("authorization", f"Bearer {token()}")),
        (("authorization", f"Bearer {token()}"), ("authorization", f"Bearer {token()}")),
    ):
        with pytest.raises(grpc.RpcError, match="the credentials are not valid"):
            gateway.raw(*metadata)
    assert gateway.refused_count("several") == 3


@pytest.mark.parametrize("value", ["Basic c2hvcDpzaG9w", "Bearer", "", "bearer", "BearerX abc"])
def test_other_schemes_and_nothing_after_bearer_are_refused(gateway: Gateway, value: str) -> None:
    with pytest.raises(grpc.RpcError, match="not valid"):
        gateway.raw(("authorization", value))


def test_the_schemes_case_does_not_matter(gateway: Gateway) -> None:
    assert gateway.raw(("authorization", f"bEARER  {token()}")).name == "shop"


def test_a_method_that_a_client_may_not_call_is_denied(gateway: Gateway) -> None:
    with Client(gateway.server.address, timeout_seconds=10, api_key=SITE_KEY) as client:
        client.recommend()
        for call in (lambda: client.record([new_event("u", "i", "a")]), client.status):
            error = failure(call)
            assert isinstance(error, PermissionDenied)
        assert "the caller may not call GetStatus" in str(error)
    assert gateway.refused_count("method") == 2


def test_the_status_needs_credentials_too_and_health_does_not(gateway: Gateway) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - only here

    with Client(gateway.server.address, timeout_seconds=10) as client:
        assert isinstance(failure(client.status), Unauthenticated)
    with Client(gateway.server.address, timeout_seconds=10, api_key=SHOP_KEY) as client:
        client.status()
    with grpc.insecure_channel(gateway.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_right_token_of_somebody_unknown_is_denied(gateway: Gateway) -> None:
    error = failure(partial(gateway.ask, token=token(sub="stranger")))
    assert isinstance(error, PermissionDenied)
    assert "stranger" not in str(error)


def test_nobody_is_anonymous_unless_the_file_says_so_and_then_may_only_ask(tmp_path: Path) -> None:
    with running(tmp_path, CLIENTS + ANONYMOUS) as gateway:
        assert gateway.ask() == Caller("", 1, None, 1, may_explain=False)
        with Client(gateway.server.address, timeout_seconds=10) as client:
            for call in (lambda: client.record([new_event("u", "i", "a")]), client.status):
                assert isinstance(failure(call), PermissionDenied)
        # Wrong credentials are not taken for none.
        assert isinstance(failure(partial(gateway.ask, api_key="wrong")), Unauthenticated)
        assert isinstance(failure(partial(gateway.ask, token=token())), Unauthenticated)
        assert gateway.refused_count("no_tokens") == 1


def test_the_caller_of_one_call_is_not_the_next_ones(gateway: Gateway) -> None:
    gateway.ask(api_key=SHOP_KEY)
    with Client(gateway.server.address, timeout_seconds=10) as client:
        for _ in range(20):
            assert isinstance(failure(client.recommend), Unauthenticated)
    assert len(gateway.servicer.callers) == 1


def test_the_log_names_the_client_and_why_there_is_none(gateway: Gateway) -> None:
    gateway.ask(api_key=SHOP_KEY)
    failure(partial(gateway.ask, api_key="wrong"))
    good, bad = (call.kwargs for call in gateway.logger.calls)
    assert (good["client"], good["code"]) == ("shop", "OK")
    assert (bad["refused_for"], bad["code"]) == ("unknown_api_key", "UNAUTHENTICATED")
    assert "client" not in bad


def test_a_changed_file_counts_from_the_next_call_on(gateway: Gateway) -> None:
    assert gateway.write(f"clients: [{{name: shop, priority: 3, keys: [{{sha256: {sha256(SHOP_NEXT_KEY)}}}]}}]")
    assert gateway.ask(api_key=SHOP_NEXT_KEY).priority == 3
    assert isinstance(failure(partial(gateway.ask, api_key=SHOP_KEY)), Unauthenticated)
    assert isinstance(failure(partial(gateway.ask, token=token())), Unauthenticated)


def test_a_broken_file_leaves_everything_as_it_was(gateway: Gateway) -> None:
    for text in ("clients: [", "clients: []", "", CLIENTS + "jwt: {jwks_file: nix.json, issuer: a, audience: b}"):
        assert not gateway.write(text)
        assert gateway.ask(api_key=SHOP_KEY).name == "shop"
        assert gateway.ask(token=token()).name == "shop"
    value = gateway.server.metrics.registry.get_sample_value
    assert value("twostage_reloads_total", {"what": "clients", "outcome": "refused"}) == 4
    assert value("twostage_reload_refused", {"what": "clients"}) == 1


def test_new_signing_keys_are_read_and_tokens_of_withdrawn_ones_end_at_once(gateway: Gateway) -> None:
    old, new = token("ES256"), token("EdDSA")
    assert gateway.ask(token=old).name == "shop"
    replace(gateway.folder / "jwks.json", jwk_set(public_jwk("EdDSA")))
    assert gateway.clients.look()
    assert gateway.ask(token=new).name == "shop"
    # Though it was remembered as right.
    assert isinstance(failure(partial(gateway.ask, token=old)), Unauthenticated)
    replace(gateway.folder / "jwks.json", b"{}")
    assert not gateway.clients.look()
    assert gateway.ask(token=new).name == "shop"


def test_a_gateways_clock_that_jumps_ends_tokens_and_never_keys(gateway: Gateway) -> None:
    text = token()
    for jump in (-86_400, 86_400, 10 * 365 * 86_400):
        now = gateway.clock.now
        assert gateway.ask(token=text).name == "shop"
        gateway.clock.now = now + jump
        assert isinstance(failure(partial(gateway.ask, token=text)), Unauthenticated)
        assert gateway.ask(api_key=SHOP_KEY).name == "shop"
        gateway.clock.now = now


def test_a_jwks_file_is_looked_for_beside_the_clients_file(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "clients.yaml").write_text(CLIENTS + JWT)
    with pytest.raises(SettingsError, match=r"jwt.jwks_file: expected a readable file, received .*config/jwks\.json"):
        read_clients(folder / "clients.yaml")
    (folder / "jwks.json").write_bytes(jwk_set())
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        _, paths = read_clients(Path("config/clients.yaml"))
    finally:
        os.chdir(before)
    assert paths == (Path("config/clients.yaml"), Path("config/jwks.json"))


@pytest.mark.parametrize("first", [None, b"half of a", jwk_set(public_jwk("EdDSA", kid="other"))])
def test_a_key_set_that_the_file_names_anew_is_taken_once_it_is_in_order(tmp_path: Path, first: bytes | None) -> None:
    with running(tmp_path, CLIENTS) as gateway:
        if first is not None:
            replace(tmp_path / "jwks-2.json", first)
        changed = gateway.write(CLIENTS + JWT.replace("jwks.json", "jwks-2.json"))
        assert changed == (first is not None and first.startswith(b"{"))
        assert not gateway.clients.look()
        replace(tmp_path / "jwks-2.json", jwk_set())
        assert gateway.clients.look()
        assert gateway.raw(("authorization", f"Bearer {token()}")).name == "shop"
