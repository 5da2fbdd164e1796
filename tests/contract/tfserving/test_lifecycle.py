"""Versions that come and go under a running server."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.contract.tfserving.embedded import Process, running
from twostage.tfserving import ModelNotFound, ModelServerClient, ModelServerUnavailable, VersionState

_ROWS = np.ones((1, 4), np.float32)
_NUMBERS = np.array([0])


def _publish(models: Path, version: int, base: Path, name: str | None = None) -> None:
    aside = base.parent / "aside"
    shutil.copytree(models / "m" / str(version), aside)
    aside.rename(base / (name or str(version)))


def _until(condition: Callable[[], bool], timeout_seconds: float = 20) -> None:
    end = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.02)


class Server:
    """A server of one model ``m`` whose versions the test moves about."""

    def __init__(self, process: Process, client: ModelServerClient, base: Path) -> None:
        self.process = process
        self.client = client
        self.base = base

    def states(self) -> dict[int, VersionState]:
        return {version: one.state for version, one in self.client.model_status("m", None, 5).items()}

    def answering_version(self, version: int | None = None) -> int:
        # y is b plus the version.
        return int(self.client.predict("m", version, {"a": _ROWS, "b": _NUMBERS}, timeout_seconds=5)["y"][0])


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for the whole file, whose tests follow upon each other: each start costs seconds."""
    if request.config.getoption("--tfserving-address"):
        pytest.skip("changes a server's disk and stops it, which only the embedded server is for")
    folder = tmp_path_factory.mktemp("lifecycle")
    base = folder / "m"
    base.mkdir()
    _publish(models, 1, base)
    config = folder / "models.config"
    config.write_text(
        f"""model_config_list {{
          config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" }}
          config {{ name: "slow" base_path: "{models / "slow"}" model_platform: "tensorflow" }}
        }}"""
    )
    socket_path = folder / "socket"
    flags = [f"--model_config_file={config}", "--max_num_load_retries=0", f"--grpc_socket_path={socket_path}"]
    with running(flags, folder / "log") as process:
        process.address()
        with ModelServerClient(f"unix://{socket_path}") as client:
            yield Server(process, client, base)


def test_versions_come_fail_and_go_without_a_failed_request(server: Server, models: Path) -> None:
    available, ended = VersionState.AVAILABLE, VersionState.END
    assert server.states() == {1: available}

    failures: list[Exception] = []
    answers: list[int] = []
    stop = threading.Event()

    def ask_on() -> None:
        while not stop.is_set():
            try:
                answers.append(server.answering_version())
            except Exception as error:  # noqa: BLE001  - any failure at all is what this looks for
                failures.append(error)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        # A newer version replaces the old one; what is no version is not looked at.
        (server.base / "not-a-version").mkdir()
        (server.base / "7a").mkdir()
        _publish(models, 2, server.base, name="00002")
        _until(lambda: server.states() == {2: available, 1: ended})

        # A broken newer one ends with its reason, and the good one goes on.
        (server.base / "3").mkdir()
        _until(lambda: server.states().get(3) is ended)
        broken = server.client.model_status("m", 3, 5)[3]
        assert broken.error_code == 5
        assert broken.error_message.startswith("Specified file path does not appear to contain a SavedModel bundle")
        assert server.states()[2] is available

        # Repaired in place it is not tried again; taken away and brought back it is.
        (server.base / "3").rmdir()
        time.sleep(1.5)
        _publish(models, 3, server.base)
        _until(lambda: server.states() == {3: available, 2: ended, 1: ended})

        # Without the newest the one before returns.
        shutil.rmtree(server.base / "3")
        _until(lambda: server.states() == {3: ended, 2: available, 1: ended})
    finally:
        stop.set()
        asking.join()
    assert failures == []
    assert len(answers) > 100
    assert [one for one, after in zip(answers, [*answers[1:], None], strict=True) if one != after] == [1, 2, 3, 2]

    with pytest.raises(ModelNotFound, match=r"Specific\(m, 3\)"):
        server.answering_version(3)

    # A base path that is gone unloads nothing; one without versions unloads all.
    moved = server.base.rename(server.base.with_name("elsewhere"))
    time.sleep(1.5)
    assert server.answering_version() == 2
    moved.rename(server.base)
    for version in ("00002", "1"):
        shutil.rmtree(server.base / version)
    _until(lambda: server.states()[2] is ended)
    with pytest.raises(ModelNotFound, match=r"Latest\(m\)"):
        server.answering_version()


def test_a_call_in_flight_ends_well_when_the_server_is_told_to_stop(server: Server) -> None:
    answers: list[int] = []

    def ask(n: int) -> None:
        outputs = server.client.predict("slow", 1, {"n": np.array(n, np.int32)}, timeout_seconds=30)
        answers.append(int(outputs["n"]))

    # As long a call as takes about a second here, found by a shorter one.
    ask(100)
    begin = time.monotonic()
    ask(1000)
    n = int(1000 * 1.5 / (time.monotonic() - begin))
    answers.clear()
    asking = threading.Thread(target=ask, args=(n,))
    asking.start()
    time.sleep(0.3)
    server.process.terminate(signal.SIGTERM)
    asking.join()
    assert answers == [n]
    assert server.process.wait() == 0
    with pytest.raises(ModelServerUnavailable):
        ask(1)


def test_a_port_in_use_is_one_line_and_exit_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "model_server", f"--port={port}", f"--model_base_path={tmp_path}"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"Failed to start server. Error: cannot listen on 127.0.0.1:{port}: Address already in use"
    ]
