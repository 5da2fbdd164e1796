"""A gateway over the shards of an index answers exactly as one over a server that holds all of it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gateway.adapters.candidates import CandidateMessage
from gateway.adapters.retrieval import RetrievalAdapter
from gateway.adapters.sharded_retrieval import ShardedRetrievalAdapter
from gateway.engine.person import HistoryColumns, Person
from gateway.engine.request import RecommendRequest
from gateway.engine.similar import SimilarRequest
from gateway.engine.stages import Retrieved
from gateway.server import build as build_gateway
from gateway.settings import GatewaySettings
from retrieval_service.server import build as build_retrieval
from retrieval_service.settings import RetrievalSettings
from tests.bundles import CLUSTERS, LANGUAGES, make_catalogue
from tests.sharded_store import make_sharded_store
from twostage.bundle.filters import Condition, Filter
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.client import Client
from twostage.processes import ServiceProcess
from twostage.rpc.calls import Calls
from twostage.rpc.channels import Replicas
from twostage.rpc.log import configure_logging
from twostage.rpc.server import ServiceServer
from twostage.stack import Ports, Stack
from twostage.v1 import common_pb2, gateway_pb2, retrieval_pb2_grpc

ITEM_COUNT = 1_500
SHARD_COUNT = 3
CATALOGUE = make_catalogue(item_count=ITEM_COUNT)
SHARES = {"interest_vectors": 0.2, "neighbours": 0.1, "interest_tags": 0.1, "trending": 0.05, "new": 0.05}
NOWHERE = "127.0.0.1:1"


@contextmanager
def retrieval(store: Store, shard: int | None = None) -> Iterator[ServiceServer]:
    """A retrieval server in this process, of one shard or of the whole index."""
    settings = RetrievalSettings(store=store.path, port=0, metrics_port=0, shard=shard, log_level="WARNING")
    server, load = build_retrieval(settings, configure_logging("retrieval", level="WARNING", log_format="console"))
    with server:
        load()
        server.set_serving()
        yield server


@contextmanager
def gateway(store: Store, target: str, users: Path, ranking: str = NOWHERE) -> Iterator[Client]:
    """A gateway in this process, and a client of it."""
    settings = GatewaySettings(
        store=store.path, users=users, retrieval=target, ranking=ranking, port=0, metrics_port=0, log_level="WARNING"
    )
    server, load = build_gateway(settings, registry=CollectorRegistry())
    with server:
        load()
        server.set_serving()
        with Client(server.address, timeout_seconds=5) as client:
            yield client


@dataclass
class Served:
    """One store, served whole and by shards.

    Args:
        store: The store.
        whole: The address of the server that holds everything.
        shards: Those of the shards, in order.
        whole_adapter: The gateway's adapter over the one.
        shards_adapter: Its adapter over the others.
    """

    store: Store
    whole: str
    shards: list[str]
    whole_adapter: RetrievalAdapter
    shards_adapter: ShardedRetrievalAdapter

    @property
    def generation(self) -> Generation:
        return self.store.open()


@pytest.fixture(scope="module", params=["exact", "ivf_fp16", "ivf_pq2", "rabitq"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = make_sharded_store(
        tmp_path_factory.mktemp("store"),
        family=request.param,
        shard_count=SHARD_COUNT,
        item_count=ITEM_COUNT,
        source_shares=SHARES,
    )
    with ExitStack() as stack:
        whole = stack.enter_context(retrieval(store)).address
        shards = [stack.enter_context(retrieval(store, index)).address for index in range(SHARD_COUNT)]

        def replicas(address: str) -> Replicas[retrieval_pb2_grpc.RetrievalServiceStub]:
            return stack.enter_context(Replicas(address, retrieval_pb2_grpc.RetrievalServiceStub))

        yield Served(
            store,
            whole,
            shards,
            RetrievalAdapter(Calls(replicas(whole))),
            ShardedRetrievalAdapter([Calls(replicas(address)) for address in shards], store.open()),
        )


FILTERS = (
    Filter(),
    Filter((Condition("language", any_of=(LANGUAGES[1],)),)),
    Filter((Condition("tags", any_of=(CLUSTERS[2], CLUSTERS[5]), none_of=("mood-1",)),)),
    Filter((Condition("year", minimum=1990.0, maximum=1994.0),)),
    Filter((Condition("year", minimum=2024.0), Condition("language", any_of=LANGUAGES[2:]))),
    Filter((Condition("tags", any_of=("no such tag",)),)),
)


def some_questions(count: int, seed: int) -> Iterator[tuple[RecommendRequest, Person, int]]:
    """Questions of all kinds: histories, tags, filters, exclusions, counts, and whether ranks are asked for."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        history = generator.choice(ITEM_COUNT, generator.choice([0, 0, 1, 4, 50]), replace=False)
        excluded = generator.choice(ITEM_COUNT, generator.choice([0, 0, 20, 700, ITEM_COUNT - 30]), replace=False)
        tags = generator.choice([*CLUSTERS, "mood-3", "no such tag"], generator.choice([0, 0, 1, 3]), replace=False)
        yield (
            RecommendRequest(
                interest_tags=tags.tolist(), filter=FILTERS[generator.integers(len(FILTERS))], trace=number % 2 == 1
            ),
            Person(HistoryColumns(history.tolist()), np.concatenate([excluded, history]).tolist()),
            int(generator.choice([1, 20, 200, 900, 2000])),
        )


def columns(found: Retrieved[CandidateMessage]) -> dict[str, object]:
    """Everything of an answer but how long it took."""
    message = found.candidates.message
    return {
        "rows": message.rows[:],
        "scores": message.scores[:],
        "sources": message.sources[:],
        "ranks": {ranks.source: ranks.ranks[:] for ranks in message.source_ranks},
        "shortfall": found.shortfall,
    }


def test_candidates_are_those_of_the_whole_index(served: Served) -> None:
    sources = 0
    for request, person, count in some_questions(150, seed=1):
        by_shards, by_whole = (
            columns(adapter.retrieve(request, person, generation=1, count=count, timeout_seconds=20.0))
            for adapter in (served.shards_adapter, served.whole_adapter)
        )
        assert by_shards == by_whole, (request, person, count)
        rows = by_whole["rows"]
        assert isinstance(rows, Sequence)
        assert not set(rows) & set(person.excluded_rows)
        sources |= int(np.bitwise_or.reduce(np.array(by_whole["sources"], np.int64), initial=0))
    # All but what is included by id, which no gateway asks for, has brought something.
    assert sources == 0b111110111


def test_similar_items_are_those_of_the_whole_index(served: Served) -> None:
    generator = np.random.default_rng(2)
    for _ in range(60):
        row = int(generator.integers(ITEM_COUNT))
        excluded = generator.choice(ITEM_COUNT, generator.choice([0, 10, 1_450]), replace=False)
        request = SimilarRequest(
            CATALOGUE.item_ids[row],
            int(generator.choice([1, 20, 200])),
            FILTERS[generator.integers(len(FILTERS))],
            [CATALOGUE.item_ids[other] for other in excluded],
        )
        by_shards, by_whole = (
            adapter.similar_items(request, generation=1, timeout_seconds=20.0)
            for adapter in (served.shards_adapter, served.whole_adapter)
        )
        assert by_shards.rows.tolist() == by_whole.rows.tolist()
        assert by_shards.scores.tolist() == by_whole.scores.tolist()
        assert by_shards.shortfall == by_whole.shortfall
        allowed = served.generation.attributes.rows(request.filter).without(np.append(excluded, row))
        assert len(by_shards.rows) == min(request.count, len(allowed))
        if served.generation.manifest.tower.index.family == "exact":
            scores = CATALOGUE.vectors[allowed.rows] @ CATALOGUE.vectors[row]
            assert sorted(by_shards.scores.tolist()) == pytest.approx(np.sort(scores)[-request.count :], abs=1e-5)


def without_what_differs(
    response: gateway_pb2.RecommendResponse | gateway_pb2.RecommendationServiceSimilarItemsResponse,
) -> str:
    response.request_id = ""
    del response.timings[:]
    # How long ranking was waited for.
    response.rung_reason = re.sub(r"\d+ ms", "", response.rung_reason)
    return str(response)


def test_callers_cannot_tell_the_gateways_apart(served: Served, tmp_path: Path) -> None:
    users = tmp_path / "users.sqlite"
    with (
        gateway(served.store, served.whole, users) as by_whole,
        gateway(served.store, ";".join(served.shards), users) as by_shards,
    ):
        french = common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["fre"])])
        for recent in ([], CATALOGUE.item_ids[:7]):
            for tags in ([], ["poetry"]):
                answers = [
                    client.recommend(
                        recent_item_ids=recent,
                        interest_tags=tags,
                        condition_filter=french,
                        exclude_item_ids=CATALOGUE.item_ids[200:700],
                        count=200,
                        trace=True,
                        attributes=["tags"],
                    )
                    for client in (by_whole, by_shards)
                ]
                assert {answer.rung for answer in answers} == {gateway_pb2.RUNG_RETRIEVAL_ORDER}
                assert any(item.trace.source_ranks for item in answers[1].recommendations)
                assert without_what_differs(answers[1]) == without_what_differs(answers[0])
        similar = [client.similar_items("item-3", condition_filter=french) for client in (by_whole, by_shards)]
        assert {answer.rung for answer in similar} == {gateway_pb2.RUNG_FULL}
        assert [timing.stage for timing in similar[1].timings] == [
            "retrieval",
            *(f"retrieval.shard_{index}" for index in range(SHARD_COUNT)),
            "retrieval.merge",
        ]
        assert without_what_differs(similar[1]) == without_what_differs(similar[0])


@pytest.fixture(scope="module")
def sharded_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_sharded_store(tmp_path_factory.mktemp("sharded"), shard_count=SHARD_COUNT)


def popular_rung_reason(client: Client) -> str:
    """Why both methods answer popular items, in the same words."""
    recommended, similar = client.recommend(count=5), client.similar_items("item-3", count=5)
    assert recommended.rung == similar.rung == gateway_pb2.RUNG_POPULAR
    assert len(recommended.recommendations) == len(similar.items) == 5
    assert recommended.rung_reason == similar.rung_reason
    return similar.rung_reason


def test_targets_in_the_wrong_order_are_refused_by_name(sharded_store: Store, tmp_path: Path) -> None:
    with ExitStack() as stack:
        addresses = [stack.enter_context(retrieval(sharded_store, index)).address for index in (0, 2, 1)]
        client = stack.enter_context(gateway(sharded_store, ";".join(addresses), tmp_path / "users.sqlite"))
        assert popular_rung_reason(client) == (
            "retrieval unavailable: shard 1 of 3: its target holds shard 2 of 3; "
            "retrieval's targets are to be the shards in their order"
        )
        assert [(stage.stage, stage.address, stage.status.serving) for stage in client.status().stages] == [
            *((f"retrieval shard {index}", address, True) for index, address in enumerate(addresses)),
            ("ranking", NOWHERE, False),
        ]


def test_a_shard_is_never_taken_for_the_whole_nor_the_whole_for_a_shard(sharded_store: Store, tmp_path: Path) -> None:
    with retrieval(sharded_store, 1) as shard, retrieval(sharded_store) as whole:
        with gateway(sharded_store, shard.address, tmp_path / "users.sqlite") as client:
            assert "this server holds shard 1 of 3" in popular_rung_reason(client)
        targets = ";".join([whole.address] * SHARD_COUNT)
        with gateway(sharded_store, targets, tmp_path / "users.sqlite") as client:
            assert "shard 0 of 3: its target holds shard 0 of 1" in popular_rung_reason(client)


@pytest.mark.timeout(120)
def test_up_serves_every_shard_by_a_process_of_its_own(tmp_path: Path) -> None:
    store = make_sharded_store(tmp_path / "store", shard_count=SHARD_COUNT, with_models=True)
    said: list[str] = []
    stack = Stack(
        store,
        ports=Ports.free(shard_count=SHARD_COUNT),
        users=tmp_path / "users.sqlite",
        on_line=lambda _name, _line: None,
        say=said.append,
        by_shard=True,
    )
    try:
        stack.import_histories()
        seconds = stack.start(90)
        assert {"retrieval 0", "retrieval 1", "retrieval 2"} < set(seconds)
        with Client(stack.listeners["gateway"].address, timeout_seconds=5) as client:
            assert client.recommend("user-3").rung == gateway_pb2.RUNG_FULL
            assert client.similar_items("item-3").rung == gateway_pb2.RUNG_FULL
            assert [(stage.stage, stage.status.serving) for stage in client.status().stages] == [
                *((f"retrieval shard {index}", True) for index in range(SHARD_COUNT)),
                ("ranking", True),
            ]
            os.kill(stack.retrieval[2].pid, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while "was started again" not in " ".join(said) or client.recommend().rung != gateway_pb2.RUNG_FULL:
                assert time.monotonic() < deadline
                stack.watch()
                time.sleep(0.05)
        assert said[0].startswith("retrieval 2 died with signal SIGKILL")
    finally:
        stack.stop()


def start(process: ServiceProcess) -> None:
    process.start()
    process.wait_serving()


def test_a_killed_shard_is_a_rung_lower_and_comes_back(sharded_store: Store, tmp_path: Path) -> None:
    arguments = ["--store", str(sharded_store.path), "--shard", "1", "--metrics-port", "0", "--port"]
    lines: list[str] = []

    def shard(port: str) -> ServiceProcess:
        return ServiceProcess.python(
            "retrieval_service", *arguments, port, name="shard", on_line=lambda _name, line: lines.append(line)
        )

    def rung(client: Client) -> int:
        return client.similar_items("item-3", count=5).rung

    process = shard("0")
    with retrieval(sharded_store, 0) as first, retrieval(sharded_store, 2) as last:
        try:
            start(process)
            address = str(process.announcement["address"])
            targets = ";".join([first.address, address, last.address])
            with gateway(sharded_store, targets, tmp_path / "users.sqlite") as client:
                assert rung(client) == gateway_pb2.RUNG_FULL
                os.kill(process.pid, signal.SIGSTOP)
                late = r"retrieval late: shard 1 of 3: no answer within \d+ ms"
                assert re.fullmatch(late, client.similar_items("item-3", timeout_seconds=0.5).rung_reason)
                os.kill(process.pid, signal.SIGKILL)
                process.wait_stopped()
                assert popular_rung_reason(client) == "retrieval unavailable: shard 1 of 3: cannot be reached"
                assert [stage.status.serving for stage in client.status().stages] == [True, False, True, False]
                process = shard(address.rpartition(":")[2])
                start(process)
                deadline = time.monotonic() + 10
                while rung(client) != gateway_pb2.RUNG_FULL:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
        finally:
            process.terminate()
            process.wait_stopped()
    assert not [line for line in lines if "Traceback" in line]
