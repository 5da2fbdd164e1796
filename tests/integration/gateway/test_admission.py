"""A gateway process that is asked for more than it can answer, by clients of high and of low priority."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
import yaml

from tests.integration.gateway.servers import Servers, start, stop
from tests.ports import free_port
from twostage.client import Client
from twostage.errors import Overloaded
from twostage.gateway_access import GatewayAccess
from twostage.load.open_loop import run_load
from twostage.load.result import REFUSED, LoadResult
from twostage.processes import ServiceProcess
from twostage.rpc.errors import from_rpc_error
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

SECONDS = 3.0
TIMEOUT_SECONDS = 2.0
KEYS = {"shop": "key of the shop", "crawler": "key of the crawler", "metered": "key of the metered one"}


@pytest.fixture(scope="module")
def gateway(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("admission")
    rights: dict[str, dict[str, float]] = {
        "shop": {"priority": 9},
        "crawler": {"priority": 1},
        "metered": {"requests_per_second": 0.5, "burst": 3},
    }
    clients = [
        {"name": name, "keys": [{"sha256": hashlib.sha256(key.encode()).hexdigest()}], **rights[name]}
        for name, key in KEYS.items()
    ]
    (folder / "clients.yaml").write_text(yaml.safe_dump({"clients": clients}))
    lines: list[str] = []
    # Two at once are soon too few on any machine.
    process = ServiceProcess.python(
        "gateway",
        *("--store", str(servers.store), "--users", str(folder / "users.sqlite")),
        *("--port", "0", "--metrics-port", "0", "--clients", str(folder / "clients.yaml")),
        *("--retrieval", str(servers.retrieval.announcement["address"])),
        *("--ranking", str(servers.ranking.announcement["address"])),
        *("--max-concurrency", "2", "--max-waiting", "4"),
        name="gateway",
        on_line=lambda _name, line: lines.append(line),
    )
    try:
        start(process)
        yield process
    finally:
        stop(process)
    assert not [line for line in lines if "Traceback" in line]


def address(gateway: ServiceProcess) -> str:
    return str(gateway.announcement["address"])


def offer(gateway: ServiceProcess, client: str, rate: float) -> LoadResult:
    requests = [gateway_pb2.RecommendRequest(user_id=f"user-{number}", count=10) for number in range(15)]
    with GatewayAccess(api_key=KEYS[client]).channel(address(gateway)) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        return run_load(channel, requests, rate=rate, seconds=SECONDS, timeout_seconds=TIMEOUT_SECONDS)


def capacity(gateway: ServiceProcess) -> float:
    """Answers a second to two callers who ask again and again."""

    def ask(_: int) -> int:
        with Client(address(gateway), api_key=KEYS["shop"], timeout_seconds=5) as client:
            count = 0
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                client.recommend("user-3", count=10)
                count += 1
            return count

    with ThreadPoolExecutor(2) as pool:
        return float(sum(pool.map(ask, range(2))))


def test_three_times_the_load_is_refused_by_priority_at_once_and_with_the_time_to_try_again(
    gateway: ServiceProcess,
) -> None:
    most = capacity(gateway)
    with ThreadPoolExecutor(3) as pool:
        low = pool.submit(offer, gateway, "crawler", 2.8 * most)
        high = pool.submit(offer, gateway, "shop", 0.2 * most)
        with Client(address(gateway), api_key=KEYS["crawler"], timeout_seconds=5) as client:
            statuses = 0
            while not (low.done() and high.done()):
                assert client.status().status.generations
                statuses += 1
                time.sleep(0.1)
        shop, crawler = high.result(), low.result()
    assert statuses > 3
    # What the two of them got: the shop nearly all that it wanted, the crawler what was left.
    assert shop.in_time() >= 0.8 * shop.due_count
    assert crawler.in_time() <= 0.7 * crawler.due_count
    assert {*shop.errors, *crawler.errors} <= {REFUSED, "DEADLINE_EXCEEDED"}
    refusals = crawler.error_latencies[REFUSED]
    assert len(refusals) >= 0.2 * crawler.due_count
    assert np.median(refusals) < 0.25 * TIMEOUT_SECONDS
    # And it works as before once there is less to do.
    with Client(address(gateway), api_key=KEYS["crawler"], timeout_seconds=5) as client:
        assert client.recommend("user-3", count=10).rung == gateway_pb2.RUNG_FULL


def test_a_client_above_its_rate_is_told_when_it_may_ask_again(gateway: ServiceProcess) -> None:
    request = gateway_pb2.RecommendRequest(user_id="user-3", count=5)
    with (
        GatewayAccess(api_key=KEYS["metered"]).channel(address(gateway)) as channel,
        Client(address(gateway), api_key=KEYS["shop"], timeout_seconds=5) as other,
    ):
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        for _ in range(3):
            assert len(stub.Recommend(request, timeout=5).recommendations) == 5
        with pytest.raises(grpc.RpcError) as caught:
            stub.Recommend(request, timeout=5)
        refusal = from_rpc_error(caught.value)
        assert isinstance(refusal, Overloaded)
        # A token comes every two seconds; the time told is off by a quarter of it at most.
        assert 0 < refusal.retry_after_seconds <= 2.5
        assert len(other.recommend("user-3", count=5).recommendations) == 5
        stub.GetStatus(gateway_pb2.RecommendationServiceGetStatusRequest(), timeout=5)


def test_its_metrics_tell_the_limit_and_what_was_refused(servers: Servers, tmp_path: Path) -> None:
    process = ServiceProcess.python(
        "gateway",
        *("--store", str(servers.store), "--users", str(tmp_path / "users.sqlite"), "--port", "0"),
        *("--metrics-port", str(free_port()), "--max-concurrency", "8"),
        *("--retrieval", str(servers.retrieval.announcement["address"])),
        *("--ranking", str(servers.ranking.announcement["address"])),
        name="gateway",
        on_line=lambda _name, _line: None,
    )
    try:
        start(process)
        with Client(address(process), timeout_seconds=5) as client:
            client.recommend("user-3", count=5)
        with urlopen(f"http://{process.announcement['metrics_address']}/metrics", timeout=5) as page:
            text = page.read().decode()
    finally:
        stop(process)
    assert 'twostage_gateway_admission_limit{lane="answers"} 4.0' in text
    assert 'twostage_gateway_admission_in_flight{lane="answers"} 0.0' in text
    assert 'twostage_gateway_admission_limit{lane="people"} 8.0' in text
