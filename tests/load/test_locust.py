"""Locust's people and `twostage load` at a real stack: processes, model server and all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.chaos.stack import Stack, running
from tests.ports import HOST, free_port
from twostage.commands.load import load
from twostage.load.mix import KINDS

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
MIX = f"shares: {{{', '.join(f'{kind}: 1' for kind in KINDS)}}}\ncount: 10\n"
PEOPLE_COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    with running(folder) as stack:
        yield stack


@pytest.fixture
def address(stack: Stack) -> str:
    return str(stack.processes["gateway"].announcement["address"])


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    path = tmp_path / "mix.yaml"
    path.write_text(MIX)
    return path


def locust(address: str, seconds: int, **variables: str) -> subprocess.CompletedProcess[str]:
    told = {"TWOSTAGE_LOAD_ADDRESS": address, "TWOSTAGE_LOAD_PAUSE_SECONDS": "0.2", "TWOSTAGE_LOAD_TIMEOUT_MS": "10000"}
    people = ["--users", str(PEOPLE_COUNT), "--spawn-rate", "100", "--run-time", f"{seconds}s"]
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--headless", *people, "--json", "--skip-log"],
        env={**os.environ, **told, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def counts(done: subprocess.CompletedProcess[str]) -> tuple[Counter[str], Counter[str]]:
    """Requests and failures by name."""
    requests, failures = Counter[str](), Counter[str]()
    for entry in json.loads(done.stdout):
        requests[entry["name"]] += entry["num_requests"]
        failures[entry["name"]] += entry["num_failures"]
    return requests, failures


def test_every_kind_of_person_is_answered_in_full_and_with_as_many_items_as_asked_for(
    address: str, mix: Path, folder: Path
) -> None:
    done = locust(address, 4, TWOSTAGE_LOAD_STORE=str(folder / "store"), TWOSTAGE_LOAD_MIX=str(mix))
    assert done.returncode == 0, done.stderr
    requests, failures = counts(done)
    # Every answer was looked at: one of too few items without a shortfall is a failure, one with it has its name.
    assert not failures.total()
    for kind in KINDS:
        told = {name: count for name, count in requests.items() if name.startswith(f"{kind} ")}
        assert sum(told.values()) > 0, kind
        assert not [name for name in told if name.endswith(", short") and kind != "filters"]
    answered = sum(count for name, count in requests.items() if name.split()[1].rstrip(",") in {"FULL", "ACCEPTED"})
    assert answered >= 0.5 * requests.total()


def test_a_load_of_the_mix_meets_what_is_required_and_its_report_is_written(
    address: str, mix: Path, folder: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    wanted = ["errors<=0%", "in_time>=90%", "known:full>=50%", "max<10s"]
    done = CliRunner().invoke(
        load,
        [
            *("--address", address, "--mix", str(mix), "--store", str(folder / "store")),
            *("--rate", "20", "--seconds", "2", "--timeout-ms", "10000", "--report", str(report)),
            *(part for text in wanted for part in ("--require", text)),
        ],
    )
    assert done.exit_code == 0, done.output
    assert done.output.count(", met") == len(wanted)
    assert report.read_text().count("<svg") == 3


def test_a_run_fails_when_the_gateway_is_gone_and_names_the_code() -> None:
    done = locust(f"{HOST}:{free_port()}", 2)
    assert done.returncode == 1
    requests, failures = counts(done)
    assert requests == failures
    assert set(requests) == {"cold UNAVAILABLE"}
