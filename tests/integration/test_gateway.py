"""The gateway as a process, with real retrieval, ranking and model servers behind it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.users.import_histories import import_histories
from tests.bundles import make_catalogue, make_store
from twostage.bundle.histories import read_histories
from twostage.client import CallFailed, Client, DeadlineExceeded, GatewayUnavailable, InvalidRequest, new_event
from twostage.processes import ServiceProcess
from twostage.v1 import common_pb2, gateway_pb2

ITEM_COUNT = 200


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Servers:
    store: Path
    users: Path
    retrieval: ServiceProcess
    ranking: ServiceProcess
    gateway: ServiceProcess
    lines: list[str]

    @property
    def address(self) -> str:
        return str(self.gateway.announcement["address"])


def start(*processes: ServiceProcess, seconds: float = 60.0) -> None:
    for process in processes:
        process.start()
    deadline = time.monotonic() + seconds
    for process in processes:
        while not process.is_serving():
            process.check_running(deadline)
            time.sleep(0.01)


def stop(process: ServiceProcess) -> None:
    process.terminate()
    process.wait_stopped()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("gateway")
    store = make_store(folder / "store", item_count=ITEM_COUNT, with_models=True).path
    users = folder / "users.sqlite"
    import_histories(users, store / "users" / "1")
    models = folder / "models.config"
    models.write_text(
        f'model_config_list {{ config {{ name: "default" base_path: "{store}/models/default" '
        'model_platform: "tensorflow" model_version_policy { specific { versions: 1 } } } }'
    )
    ports = {name: free_port() for name in ("model_server", "retrieval", "ranking")}
    lines: list[str] = []

    def process(module: str, *arguments: str) -> ServiceProcess:
        return ServiceProcess.python(
            module, *arguments, name=module, on_line=lambda name, line: lines.append(f"{name}: {line}")
        )

    def service(module: str, port: int, *arguments: str) -> ServiceProcess:
        fixed = ["--store", str(store), "--port", str(port), "--metrics-port", "0"]
        return process(module, *fixed, *arguments)

    model_server = process("model_server", f"--port={ports['model_server']}", f"--model_config_file={models}")
    retrieval = service("retrieval_service", ports["retrieval"])
    ranking = service("ranking_service", ports["ranking"], "--model-server", f"127.0.0.1:{ports['model_server']}")
    stages = ["--retrieval", f"127.0.0.1:{ports['retrieval']}", "--ranking", f"127.0.0.1:{ports['ranking']}"]
    gateway = service("gateway", 0, *stages, "--users", str(users))
    everybody = (model_server, ranking, retrieval, gateway)
    try:
        model_server.start()
        start(ranking, retrieval, gateway)
        yield Servers(store, users, retrieval, ranking, gateway, lines)
    finally:
        for each in everybody:
            each.terminate()
        for each in everybody:
            each.wait_stopped()


@pytest.fixture(scope="module")
def client(servers: Servers) -> Iterator[Client]:
    with Client(servers.address, timeout_seconds=5) as opened:
        yield opened
    assert not [line for line in servers.lines if "Traceback" in line]


def until(answers: Callable[[], gateway_pb2.RecommendResponse], rung: int) -> gateway_pb2.RecommendResponse:
    """Asks until an answer stands on a rung; every answer on the way must be a whole one."""
    deadline = time.monotonic() + 10
    while True:
        response = answers()
        assert len(response.recommendations) == 10
        if response.rung == rung:
            return response
        assert time.monotonic() < deadline, f"still {response.rung}: {response.rung_reason}"
        time.sleep(0.02)


def ids(response: gateway_pb2.RecommendResponse) -> list[str]:
    return [recommendation.item_id for recommendation in response.recommendations]


def test_a_known_person_gets_a_full_answer(servers: Servers, client: Client) -> None:
    response = client.recommend("user-3", count=10, attributes=["tags"], trace=True)
    assert (response.rung, response.rung_reason, response.generation) == (gateway_pb2.RUNG_FULL, "", 1)
    assert len(response.recommendations) == 10
    assert not response.HasField("shortfall")
    scores = [r.score for r in response.recommendations]
    assert scores == sorted(scores, reverse=True)
    person = next(p for p in read_histories(servers.store / "users" / "1") if p.user_id == "user-3")
    assert not set(ids(response)) & set(person.item_ids)
    titles = dict(zip(make_catalogue().item_ids, make_catalogue().titles, strict=True))
    for position, r in enumerate(response.recommendations, start=1):
        assert set(r.action_scores) == {"rated", "liked", "to_read"}
        # The mean of the actions, weighted as the bundle's blend says.
        blended = 0.5 * r.action_scores["rated"] + r.action_scores["liked"] + 0.25 * r.action_scores["to_read"]
        assert r.score == pytest.approx(blended / 1.75, rel=1e-5)
        assert r.title == titles[r.item_id]
        assert r.attributes["tags"]
        assert r.sources
        assert r.candidate_rank >= 1
        assert (r.trace.final_rank, r.trace.ranking_rank) == (position, position)
        assert r.trace.retrieval_rank >= 1
    stages = [timing.stage for timing in response.timings]
    assert stages[:2] == ["user", "retrieval"]
    assert {"retrieval.search", "ranking", "ranking.model_server"} <= set(stages)
    assert len(stages) == len(set(stages)), "every step has a name of its own"
    calls = {timing.stage: timing for timing in response.timings}
    assert all(calls[stage].transport_ms > 0 and calls[stage].compute_ms > 0 for stage in ("retrieval", "ranking"))


@pytest.mark.parametrize("user_id", ["", "nobody-knows", "ünknown"])
def test_an_unknown_person_gets_a_cold_start_answer(client: Client, user_id: str) -> None:
    response = client.recommend(user_id)
    assert response.rung == gateway_pb2.RUNG_FULL
    assert len(response.recommendations) == 20


def test_a_history_in_the_request_decides_and_counts_as_seen(client: Client) -> None:
    catalogue = make_catalogue()
    mine = [catalogue.item_ids[row] for row in np.flatnonzero(catalogue.clusters == 2)[:4]]
    response = client.recommend("user-3", recent_item_ids=[*mine, "nothing-like-it"], count=10, trace=True)
    assert response.unknown_item_count == 1
    assert not set(ids(response)) & set(mine)
    # The candidates nearest to a history of one cluster are of that cluster.
    nearest = min(response.recommendations, key=lambda r: r.trace.retrieval_rank)
    assert catalogue.clusters[catalogue.item_ids.index(nearest.item_id)] == 2
    assert set(ids(client.recommend(recent_item_ids=mine, count=200, include_seen=True))) >= set(mine)


def test_exclusions_filters_and_what_is_missing(client: Client) -> None:
    catalogue = make_catalogue()
    french = {i for i, languages in zip(catalogue.item_ids, catalogue.languages, strict=True) if languages == ["fre"]}
    excluded = sorted(french)[:3]
    condition_filter = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["fre"])])
    response = client.recommend(condition_filter=condition_filter, exclude_item_ids=[*excluded, "nix"], count=100)
    assert set(ids(response)) == french - set(excluded)
    assert len(ids(response)) + response.shortfall.missing_count == 100
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_EXCLUDED

    nothing = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["none such"])])
    response = client.recommend(condition_filter=nothing)
    assert (len(response.recommendations), response.shortfall.missing_count) == (0, 20)
    assert (response.rung, response.shortfall.reason) == (gateway_pb2.RUNG_FULL, common_pb2.SHORTFALL_REASON_EXCLUDED)


def test_interest_tags_speak_for_a_person_without_a_history(client: Client) -> None:
    response = client.recommend(interest_tags=["poetry"], count=50)
    tagged = {r.item_id for r in response.recommendations if "interest_tags" in r.sources}
    catalogue = make_catalogue()
    assert tagged
    assert all("poetry" in catalogue.tags[catalogue.item_ids.index(item_id)] for item_id in tagged)


def test_many_callers_at_once_are_all_answered(client: Client) -> None:
    def ask(number: int) -> int:
        person = f"caller-{number % 20}"
        item = f"item-{1 + number % 15}"
        assert client.record([new_event(person, item, "to_read", event_id=f"many-{number}")]).accepted_count == 1
        response = client.recommend(person, count=10)
        assert item not in ids(response)
        return len(response.recommendations)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(120))) == [10] * 120


def test_diversity_reaches_ranking(client: Client) -> None:
    cap = common_pb2.Cap(attribute="language", max_count=2)
    response = client.recommend("user-3", count=20, diversity=common_pb2.Diversity(caps=[cap]), attributes=["language"])
    languages = [r.attributes["language"] for r in response.recommendations]
    assert max(languages.count(language) for language in set(languages)) == 2
    assert len(languages) + response.shortfall.missing_count == 20
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_SELECTION_POLICY


def test_a_recorded_event_is_seen_by_the_next_request(client: Client) -> None:
    first = client.recommend("new-person", count=10)
    best = first.recommendations[0].item_id
    events = [
        new_event("new-person", best, "rated", value=2.0, event_id="n1", request_id=first.request_id),
        new_event("new-person", "nix", "rated", event_id="n2"),
        new_event("new-person", best, "rated", value=2.0, event_id="n1"),
    ]
    recorded = client.record(events)
    assert recorded.accepted_count == 2
    assert [(r.index, r.event_id) for r in recorded.rejected] == [(1, "n2")]
    assert "item_id: expected an item of generation 1" in recorded.rejected[0].reason
    assert best not in ids(client.recommend("new-person", count=200))
    assert best in ids(client.recommend("new-person", count=200, include_seen=True))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (gateway_pb2.RecommendRequest(count=0), "count: expected 1 to 200, received 0"),
        (gateway_pb2.RecommendRequest(count=-7), "count: expected 1 to 200, received -7"),
        (gateway_pb2.RecommendRequest(count=2**31 - 1), "count: expected 1 to 200"),
        (gateway_pb2.RecommendRequest(user_id="x" * 257), "user_id: expected 0 to 256 bytes"),
        (gateway_pb2.RecommendRequest(attributes=["nope"]), "attributes[0]: expected one of tags, language, year"),
        (
            gateway_pb2.RecommendRequest(
                filter=common_pb2.Filter(
                    conditions=[common_pb2.Condition(attribute="tags", range=common_pb2.Range(min=1))]
                )
            ),
            "filter.conditions[0].range: expected any_of or none_of",
        ),
    ],
    ids=["zero", "negative", "huge", "long id", "attribute", "refused by retrieval"],
)
def test_bad_input_is_refused_by_name_and_the_gateway_goes_on(
    servers: Servers, client: Client, request_: gateway_pb2.RecommendRequest, message: str
) -> None:
    with grpc.insecure_channel(servers.address) as channel:
        call = channel.unary_unary(
            "/twostage.v1.RecommendationService/Recommend",
            request_serializer=gateway_pb2.RecommendRequest.SerializeToString,
            response_deserializer=gateway_pb2.RecommendResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(request_, timeout=5)
    call_: Any = caught.value
    assert call_.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in call_.details()
    assert len(client.recommend().recommendations) == 20


def test_the_client_names_what_went_wrong(client: Client) -> None:
    with pytest.raises(InvalidRequest, match=r"^count: expected 1 to 200, received 201$") as invalid:
        client.recommend(count=201)
    assert invalid.value.reason == "INVALID_FIELD"
    with pytest.raises(InvalidRequest, match="events: expected 1 to 1000 entries"):
        client.record([])
    with pytest.raises(DeadlineExceeded):
        client.recommend(timeout_seconds=0.0001)
    address = f"127.0.0.1:{free_port()}"
    with Client(address) as nobody, pytest.raises(GatewayUnavailable, match=f"gateway at {address}: UNAVAILABLE"):
        nobody.recommend()
    assert issubclass(GatewayUnavailable, CallFailed)


def test_status_tells_who_holds_what(client: Client) -> None:
    response = client.status()
    assert (response.status.service, response.status.serving) == ("gateway", True)
    assert [(g.generation, g.item_count, g.active) for g in response.status.generations] == [(1, ITEM_COUNT, True)]
    assert [(s.stage, s.status.serving, s.error) for s in response.stages] == [
        ("retrieval", True, ""),
        ("ranking", True, ""),
    ]


def test_health_says_serving(servers: Servers) -> None:
    with grpc.insecure_channel(servers.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "twostage.v1.RecommendationService"):
            response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_a_stage_that_stops_is_a_rung_lower_and_comes_back(servers: Servers, client: Client) -> None:
    def answers() -> gateway_pb2.RecommendResponse:
        return client.recommend("user-3", count=10)

    assert answers().rung == gateway_pb2.RUNG_FULL
    try:
        stop(servers.ranking)
        lower = until(answers, gateway_pb2.RUNG_RETRIEVAL_ORDER)
        assert lower.rung_reason == "ranking unavailable: cannot be reached"
        scores = [r.score for r in lower.recommendations]
        assert scores == sorted(scores, reverse=True)
        assert all(r.title and r.sources and not r.action_scores for r in lower.recommendations)

        stop(servers.retrieval)
        lowest = until(answers, gateway_pb2.RUNG_POPULAR)
        assert lowest.rung_reason == "retrieval unavailable: cannot be reached"
        catalogue = make_catalogue()
        history = next(p for p in read_histories(servers.store / "users" / "1") if p.user_id == "user-3")
        order = np.argsort(-catalogue.popularity, kind="stable")
        popular = [catalogue.item_ids[row] for row in order if catalogue.item_ids[row] not in history.item_ids]
        assert ids(lowest) == popular[:10]
        statuses = client.status().stages
        assert all(stage.error.startswith("UNAVAILABLE") for stage in statuses)
    finally:
        start(*(stage for stage in (servers.retrieval, servers.ranking) if stage.exit_code() is not None))
    until(answers, gateway_pb2.RUNG_FULL)


def test_a_stage_that_hangs_costs_a_rung_and_not_the_deadline(servers: Servers, client: Client) -> None:
    assert client.recommend("user-3", count=10).rung == gateway_pb2.RUNG_FULL
    os.kill(servers.ranking.pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        response = client.recommend("user-3", count=10, timeout_seconds=1.0)
        waited = time.monotonic() - before
    finally:
        os.kill(servers.ranking.pid, signal.SIGCONT)
    assert response.rung == gateway_pb2.RUNG_RETRIEVAL_ORDER
    assert re.fullmatch(r"ranking late: no answer within \d+ ms", response.rung_reason)
    assert len(response.recommendations) == 10
    assert waited < 1.0

    os.kill(servers.retrieval.pid, signal.SIGSTOP)
    try:
        response = client.recommend("user-3", count=10, timeout_seconds=1.0)
    finally:
        os.kill(servers.retrieval.pid, signal.SIGCONT)
    assert response.rung == gateway_pb2.RUNG_POPULAR
    assert re.fullmatch(r"retrieval late: no answer within \d+ ms", response.rung_reason)
    until(lambda: client.recommend("user-3", count=10), gateway_pb2.RUNG_FULL)


def test_a_stage_of_another_generation_is_a_rung_lower(servers: Servers, tmp_path: Path) -> None:
    other = make_store(tmp_path / "store", item_count=50)
    make_store(tmp_path / "store", item_count=50)
    gateway = ServiceProcess.python(
        "gateway",
        *("--store", str(other.path), "--port", "0", "--metrics-port", "0"),
        *("--users", str(tmp_path / "users.sqlite"), "--retrieval", str(servers.retrieval.announcement["address"])),
        name="gateway",
        on_line=lambda _name, _line: None,
    )
    try:
        start(gateway)
        with Client(gateway.announcement["address"]) as client:
            response = client.recommend(count=5)
    finally:
        stop(gateway)
    assert (response.rung, response.generation) == (gateway_pb2.RUNG_POPULAR, 2)
    assert response.rung_reason == "retrieval unavailable: generation 2 is not loaded there, held: 1"


@pytest.mark.parametrize("fault", ["flipped byte", "port in use"])
def test_what_it_cannot_start_from_is_told_in_one_line(servers: Servers, tmp_path: Path, fault: str) -> None:
    store, port, message = servers.store, "0", ""
    if fault == "flipped byte":
        store = make_store(tmp_path / "flipped", item_count=50).path
        blob = store / "generations" / "1" / "items" / "titles.blob.npy"
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
        message = "titles.blob.npy: expected sha256"
    else:
        port = servers.address.rpartition(":")[2]
        message = f"cannot listen on 127.0.0.1:{port}"
    arguments = [
        "--store",
        str(store),
        "--users",
        str(tmp_path / "users.sqlite"),
        "--port",
        port,
        "--metrics-port",
        "0",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments, "--metrics-port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    complaints = [line for line in ended.stderr.splitlines() if line.startswith("gateway: error: ")]
    assert (ended.returncode, len(complaints)) == (1, 1), ended.stderr
    assert message in complaints[0]
    assert "Traceback" not in ended.stderr


def test_the_gateways_process_never_loads_what_models_need() -> None:
    program = (
        "import sys, gateway.server, gateway.__main__, gateway.users.import_histories, twostage.client\n"
        "heavy = {'tensorflow', 'keras', 'faiss', 'ai_edge_litert', 'tensorflow_serving', 'scipy', 'pyarrow'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
