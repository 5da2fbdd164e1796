"""The command over a real socket, against a gateway that refuses every third request."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from tests.unit.twostage.load.served import served
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
        with self._lock:
            self._count += 1
            refuse = bool(self.refused_part) and self._count % self.refused_part == 0
        if refuse:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
        items = [gateway_pb2.Recommendation(item_id=str(item)) for item in range(request.count)]
        return gateway_pb2.RecommendResponse(rung=gateway_pb2.RUNG_FULL, recommendations=items)


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
def address(servicer: Servicer) -> Iterator[str]:
    with served(servicer) as address:
        yield address


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
        (["--sweep", "10:20:5", "--hlog", "x.hlog"], "--hlog goes with one rate"),
        (["--sweep", "10:20:5", "--rate", "5"], "--sweep goes without --rate"),
        (["--sweep", "10"], "expected FROM:TO:STEP"),
        (
            ["--rate", "5", "--seconds", "1", "--report", "no/such/folder.html"],
            "expected a file in a folder that can be",
        ),
        (["--rate", "5", "--seconds", "1", "--require", "p99"], "--require: expected [KIND:]METRIC"),
        (["--rate", "5", "--seconds", "1", "--require", "evnts:p99<1s"], "a kind that is sent: recommend"),
        (["--rate", "5", "--seconds", "1", "--timeout-ms", "1e300"], "is not in the range 1<=x<=3600000"),
        (["--rate", "5", "--seconds", "1", "--require", "knee>5"], "'knee>5' goes with --sweep"),
        (["--sweep", "10:20:5", "--require", "p99<1s"], "'p99<1s' goes with one rate"),
        (["--find-saturation", "--require", "knee>1"], "'knee>1' goes with --sweep"),
        (["--rate", "5", "--seconds", "1", "--mix", "x.yaml", "--user", "a"], "go into the file of --mix"),
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


def test_requirements_decide_and_each_that_is_not_met_is_named_with_what_was_measured(address: str) -> None:
    required = ["errors<40%", "goodput>=100/s", "full>=99%", "p50<60s", "p99<60s"]
    given = [part for text in required for part in ("--require", text)]
    done = run("--address", address, "--rate", "60", "--seconds", "0.5", *given)
    assert done.exit_code == 1
    told = "goodput>=100/s (40.00/s); full>=99% (66.6667 %); p99<60s (not answered)"
    assert f"3 of 5 requirements not met: {told}" in done.output
    done = run("--address", address, "--rate", "60", "--seconds", "0.5", "--require", "errors<40%")
    assert done.exit_code == 0
    assert "errors<40%: 33.3333 %, met" in done.output


def test_a_sweep_tells_each_rate_and_writes_a_report(address: str, servicer: Servicer, tmp_path: Path) -> None:
    servicer.refused_part = 0
    report = tmp_path / "report.html"
    arguments = ["--sweep", "20:80:x2", "--seconds", "0.25", "--report", str(report), "--require", "kept_up>=20"]
    done = run("--address", address, *arguments)
    assert done.exit_code == 0
    for rate in ("20.0", "40.0", "80.0"):
        assert re.search(rf"│ {rate}\s+│", done.output)
    text = report.read_text()
    assert text.count("<svg") == 2
    assert '<td class="met">met</td>' in text


def test_the_mix_is_sent_and_told_by_kind(address: str, servicer: Servicer, tmp_path: Path) -> None:
    servicer.refused_part = 0
    mix, report, log = (tmp_path / name for name in ("mix.yaml", "report.html", "load.hlog"))
    mix.write_text("shares: {known: 1, cold: 1}\nusers: [a, b]\ncount: 5\n")
    files = ["--mix", str(mix), "--report", str(report), "--hlog", str(log)]
    done = run("--address", address, "--rate", "100", "--seconds", "0.4", *files)
    assert done.exit_code == 0
    assert re.search(r"known RUNG_FULL\s+│", done.output)
    assert re.search(r"cold RUNG_FULL\s+│", done.output)
    assert report.read_text().count("<svg") == 3
    assert "Tag=known.RUNG_FULL,0.000,1.000," in log.read_text()


def test_a_mix_that_lacks_something_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    mix = tmp_path / "mix.yaml"
    mix.write_text("shares: {known: 1}\n")
    done = run("--rate", "1", "--seconds", "1", "--mix", str(mix))
    assert (done.exit_code, "users: expected some for the share 'known'" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (grpc.FutureTimeoutError(), "the gateway cannot be reached"),
        (BrokenProcessPool(), "a generator process was killed"),
    ],
)
def test_processes_that_cannot_go_on_say_so(monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("twostage.load.session.LoadSession.one", fail)
    done = run("--address", "127.0.0.1:1", "--rate", "5", "--seconds", "1", "--processes", "2")
    assert (done.exit_code, words in done.output) == (1, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device on this system")
def test_a_full_disk_is_told_after_the_figures(address: str, servicer: Servicer) -> None:
    servicer.refused_part = 0
    done = run("--address", address, "--rate", "40", "--seconds", "0.1", "--out", "/dev/full")
    assert done.exit_code == 1
    assert "offered 40 a second" in done.output
    assert "/dev/full cannot be written: No space left on device" in done.output
