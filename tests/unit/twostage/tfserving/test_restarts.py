"""The client before a server in a process of its own that is killed, restarted, slow, or another version."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twostage.tfserving import (
    ModelServerClient,
    ModelServerDeadline,
    ModelServerOverloaded,
    ModelServerUnavailable,
    WrongVersion,
)

_PROGRAM = Path(__file__).with_name("model_server_process.py")


class Process:
    """The server; :meth:`start` may be called again after :meth:`kill`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._process: subprocess.Popen[str] | None = None

    def start(self, seconds: float = 0.0, version: int = 7) -> None:
        command = [sys.executable, str(_PROGRAM), self.address, str(seconds), str(version)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait_for(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while self._process.stdout.readline().strip() != line:
            assert self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    one = Process(f"unix:{tmp_path}/model.sock")
    yield one
    one.kill()


def _score(client: ModelServerClient, timeout_seconds: float, version: int | None = 7) -> float:
    return float(client.predict("m", version, {}, timeout_seconds=timeout_seconds)["score"][0])


def test_a_server_that_is_restarted_in_time_costs_no_call(process: Process) -> None:
    process.start(seconds=0.5)
    process.wait_for("listening")
    with ModelServerClient(process.address) as client, ThreadPoolExecutor(3) as callers:
        assert _score(client, 10) == 7
        # Some are with the server when it dies, some come while it is gone.
        early = [callers.submit(_score, client, 20.0) for _ in range(2)]
        process.wait_for("call")
        process.kill()
        late = callers.submit(_score, client, 20.0)
        process.start()
        assert [call.result() for call in [*early, late]] == [7, 7, 7]


def test_a_server_that_does_not_come_back_is_told_within_the_time(process: Process) -> None:
    process.start()
    process.wait_for("listening")
    with ModelServerClient(process.address) as client:
        assert _score(client, 10) == 7
        process.kill()
        begin = time.monotonic()
        with pytest.raises(ModelServerUnavailable):
            _score(client, 0.5)
        assert time.monotonic() - begin < 0.5


def test_one_that_was_never_there_is_not_waited_for(process: Process) -> None:
    begin = time.monotonic()
    with ModelServerClient(process.address) as client, pytest.raises(ModelServerUnavailable):
        _score(client, 20)
    assert time.monotonic() - begin < 5


def test_another_version_than_asked_is_no_answer(process: Process) -> None:
    process.start(version=6)
    process.wait_for("listening")
    with ModelServerClient(process.address) as client:
        assert _score(client, 10, version=None) == 6
        with pytest.raises(WrongVersion, match=r"expected an answer of model 'm' version 7, got .* 'm' version 6"):
            _score(client, 10)


def test_expired_work_does_not_pile_up_in_a_slow_server(process: Process) -> None:
    process.start(seconds=1.0)
    process.wait_for("listening")
    outcomes: list[type[Exception] | None] = []

    def call() -> None:
        try:
            _score(client, 0.05)
            outcomes.append(None)
        except (ModelServerDeadline, ModelServerOverloaded) as error:
            outcomes.append(type(error))

    with ModelServerClient(process.address, max_in_flight=3) as client:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            threads = [threading.Thread(target=call) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(0.01)
        sent_count = outcomes.count(ModelServerDeadline)
        assert None not in outcomes
        # The bound, and what tries it out after 0.05, 0.1, 0.2, 0.4 s: not the some sixty that were asked.
        assert 3 <= sent_count <= 8
        # On a busy machine fewer are asked in the second.
        assert outcomes.count(ModelServerOverloaded) > sent_count
        # A patient caller gets through at last, and its answer gives the places of all the others back.
        while True:
            try:
                assert _score(client, 20) == 7
                break
            except ModelServerOverloaded:
                time.sleep(0.05)
        assert client.abandoned_count == 0
