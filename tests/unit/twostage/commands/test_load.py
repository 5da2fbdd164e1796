"""The command over a real socket, against a gateway that refuses every third request."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from twostage.commands.load import load
from twostage.v1 import gateway_pb2, gateway_pb2_grpc


class Servicer(gateway_pb2_grpc.RecommendationServiceServicer):
    def __init__(self) -> None:
        self.refused_part = 3
        self._lock = threading.Lock()
        self._count = 0

    def Recommend(  # noqa: N802 - the method's name in the contract
        self, request: gateway_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> gateway_pb2.RecommendResponse:
        del request
        with self._lock:
            self._count += 1
            refuse = bool(self.refused_part) and self._count % self.refused_part == 0
        if refuse:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
        return gateway_pb2.RecommendResponse(rung=gateway_pb2.RUNG_FULL)


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
def address(servicer: Servicer) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(load, arguments, env={"COLUMNS": "200"})


def test_refusals_are_shown_apart_from_answers_and_every_request_is_written(address: str, tmp_path: Path) -> None:
    out = tmp_path / "load.csv"
    done = run("--address", address, "--rate", "60", "--seconds", "0.5", "--out", str(out))
    assert done.exit_code == 1
    assert "10 of 30 requests failed" in done.output
    assert re.search(r"RUNG_FULL\s+│\s+20\s+│\s+20\s", done.output)
    assert re.search(r"refused\s+│\s+10\s", done.output)
    assert "offered 60 a second" in done.output
    assert "answered in time 40.0 a second" in done.output
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["outcome"] for row in rows].count("RUNG_FULL") == 20
    due = [float(row["due_seconds"]) for row in rows]
    assert due == sorted(due)
    assert all(float(row["latency_ms"]) > 0 for row in rows)


def test_nothing_refused_is_no_failure(address: str, servicer: Servicer) -> None:
    servicer.refused_part = 0
    done = run("--address", address, "--rate", "40", "--seconds", "0.25", "--processes", "2")
    assert (done.exit_code, "refused" in done.output) == (0, False)


def test_the_search_says_that_nothing_was_kept_up_with(address: str, servicer: Servicer) -> None:
    servicer.refused_part = 1
    done = run("--address", address, "--find-saturation", "--rate", "24", "--seconds", "0.1")
    assert done.exit_code == 1
    assert "not even" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "5"], "--rate and --seconds are needed"),
        (["--find-saturation", "--out", "x.csv"], "--out goes with one rate"),
        (["--rate", "0", "--seconds", "1"], "0"),
        (["--rate", "nan", "--seconds", "1"], "nan is not a finite number"),
        (["--rate", "1", "--seconds", "inf"], "inf is not a finite number"),
        (["--rate", "1", "--seconds", "1", "--timeout-ms", "nan"], "nan is not a finite number"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output
