from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np

from tests.bundles import make_catalogue, make_store
from tests.integration.gateway.servers import Servers, ids, start, stop, until
from twostage.bundle.histories import read_histories
from twostage.client import Client
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2


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
        earlier = until(answers, gateway_pb2.RUNG_CACHED)
        assert earlier.rung_reason == (
            f"retrieval unavailable: cannot be reached; answered from the earlier answer {lower.request_id}"
        )
        assert ids(earlier) == ids(lower)
        # Somebody who was never answered before.
        lowest = client.recommend("user-4", count=10)
        assert lowest.rung == gateway_pb2.RUNG_POPULAR
        assert lowest.rung_reason == "retrieval unavailable: cannot be reached"
        catalogue = make_catalogue()
        history = next(p for p in read_histories(servers.store / "users" / "1") if p.user_id == "user-4")
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
        response = client.recommend("user-5", count=10, timeout_seconds=1.0)
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
        *("--store", str(other.path), "--generation", "2", "--port", "0", "--metrics-port", "0"),
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
    # Whether it was heard before or was said when it was asked.
    assert response.rung_reason in (
        "retrieval unavailable: no generation in common: the gateway holds generation 2, retrieval generation 1",
        "retrieval unavailable: generation 2 is not loaded there, held: 1",
    )
