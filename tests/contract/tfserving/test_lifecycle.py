"""What requests see while versions change, loads run long and the server stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from tests.contract.tfserving.caller import Caller
from tests.contract.tfserving.scenario import Disk
from tests.contract.tfserving.server_process import CommandLauncher, Launcher, Server, running
from twostage.tfserving import tensors


def _until(condition: Callable[[], bool], timeout_seconds: float = 30) -> None:
    end = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.01)


def _predict(caller: Caller, version: int | None = None) -> tuple[str, str, int]:
    """Asks model m; its y is 0 plus the version."""
    request = caller.request("Predict")
    request.model_spec.name = "m"
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["a"].CopyFrom(tensors.encode(np.ones((1, 4), np.float32)))
    request.inputs["b"].CopyFrom(tensors.encode(np.zeros(1, np.int64)))
    code, message, response = caller.ask("Predict", request)
    return code, message, response.outputs["y"].int64_val[0] if response else 0


def _count(caller: Caller, n: int, model: str = "slow", timeout_seconds: float = 60) -> tuple[str, str]:
    request = caller.request("Predict")
    request.model_spec.name = model
    request.inputs["n"].CopyFrom(tensors.encode(np.array(n, np.int32)))
    code, message, response = caller.ask("Predict", request, timeout_seconds)
    assert response is None or response.outputs["n"].int_val[0] == n
    return code, message


def _steps_per_second(caller: Caller) -> float:
    """The most that it ever makes: what is to last for some seconds must not end sooner when others leave the cores."""
    _count(caller, 100)
    shortest = float("inf")
    for _ in range(5):
        begin = time.monotonic()
        assert _count(caller, 500)[0] == "OK"
        shortest = min(shortest, time.monotonic() - begin)
    return 500 / shortest


@contextmanager
def _in_background(work: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


class Asking:
    """Asks model m one request after another in a thread, and keeps what came."""

    def __init__(self, address: str, version: int | None = None) -> None:
        self._address = address
        self._version = version
        self._stop = threading.Event()
        self.answers: list[tuple[str, str, int]] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        _until(lambda: len(self.answers) > 5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        caller = Caller(self._address)
        while not self._stop.is_set():
            self.answers.append(_predict(caller, self._version))
        caller.close()

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        """The answers without repetitions of the one before."""
        return [one for i, one in enumerate(self.answers) if i == 0 or one != self.answers[i - 1]]


@pytest.fixture
def disk(models: Path, tmp_path: Path) -> Disk:
    one = Disk(tmp_path, models)
    one.publish("m/1", "m/1")
    one.publish("slow/1", "slow/1")
    (tmp_path / "models.config").write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{tmp_path / name}" model_platform: "tensorflow" }}'
            for name in ("m", "slow")
        )
        + "}"
    )
    return one


@pytest.fixture
def server(disk: Disk, launcher: Launcher, tmp_path: Path) -> Iterator[Server]:
    del disk
    flags = [f"--model_config_file={tmp_path / 'models.config'}", "--max_num_load_retries=0"]
    with running(launcher, flags, tmp_path / "log") as one:
        one.require_listening()
        yield one


@pytest.fixture
def asking(server: Server) -> Iterator[Caller]:
    caller = Caller(server.address)
    yield caller
    caller.close()


def test_no_request_fails_across_a_switch_and_back(server: Server, disk: Disk, asking: Caller) -> None:
    with Asking(server.address) as latest, Asking(server.address, version=1) as pinned:
        disk.publish("m/2", "m/2")
        _until(lambda: asking.states("m") == {2: "AVAILABLE", 1: "END"})
        disk.folder("m/3")
        _until(lambda: asking.states("m") == {3: "END", 2: "AVAILABLE", 1: "END"})
        disk.remove("m/3")
        time.sleep(1.2)
        disk.remove("m/2")
        _until(lambda: asking.states("m") == {3: "END", 2: "END", 1: "AVAILABLE"})
        time.sleep(0.1)
    assert [(code, version) for code, _, version in latest.runs] == [("OK", 1), ("OK", 2), ("OK", 1)]
    # Who asks for a version by number has to do without it once the policy drops it.
    gone = ("NOT_FOUND", "Servable not found for request: Specific(m, 1)", 0)
    assert pinned.runs == [("OK", "", 1), gone, ("OK", "", 1)]


def test_a_request_in_flight_ends_well_on_the_version_that_goes(server: Server, disk: Disk, asking: Caller) -> None:
    n = int(_steps_per_second(asking) * 3)
    answers: list[tuple[str, str]] = []
    other = Caller(server.address)
    with _in_background(lambda: answers.append(_count(other, n))):
        time.sleep(0.3)
        disk.publish("slow/2", "m/2")
        # New requests get the new version before the old one is gone.
        request = asking.request("GetModelMetadata")
        request.model_spec.name = "slow"
        request.metadata_field.append("signature_def")
        _until(lambda: asking.ask("GetModelMetadata", request)[2].model_spec.version.value == 2)
        assert asking.states("slow")[1] != "END"
        assert answers == []
    assert answers == [("OK", "")]
    _until(lambda: asking.states("slow") == {2: "AVAILABLE", 1: "END"})
    other.close()


@pytest.mark.usefixtures("embedded")
def test_a_request_in_flight_on_another_model_holds_back_no_switch(server: Server, disk: Disk, asking: Caller) -> None:
    n = int(_steps_per_second(asking) * 4)
    answers: list[tuple[str, str]] = []
    other = Caller(server.address)
    with _in_background(lambda: answers.append(_count(other, n))):
        time.sleep(0.2)
        disk.publish("m/2", "m/2")
        _until(lambda: asking.states("m") == {2: "AVAILABLE", 1: "END"})
        assert answers == []
    assert answers == [("OK", "")]
    other.close()


def test_a_deadline_stops_the_graph(server: Server, asking: Caller) -> None:
    n = int(_steps_per_second(asking) * 20)
    code, _ = _count(asking, n, timeout_seconds=0.5)
    assert code == "DEADLINE_EXCEEDED"
    time.sleep(0.2)
    before = server.cpu_seconds
    time.sleep(1.0)
    assert server.cpu_seconds - before < 0.3


def test_a_long_load_is_not_seen_by_other_requests(server: Server, disk: Disk, asking: Caller) -> None:
    steps = int(_steps_per_second(asking) * 2)
    warmup = [{"inputs": {"n": {"dtype": "DT_INT32", "tensor_shape": {}, "int_val": [steps]}}}]
    disk.publish_warmed("slow/2", "slow/1", warmup)
    with Asking(server.address) as latest:
        _until(lambda: asking.states("slow") == {2: "LOADING", 1: "AVAILABLE"})
        assert _count(asking, 3)[0] == "OK"
        _until(lambda: asking.states("slow") == {2: "AVAILABLE", 1: "END"})
    assert {code for code, _, _ in latest.answers} == {"OK"}


@pytest.mark.usefixtures("embedded")
def test_a_call_in_flight_ends_well_when_the_server_is_told_to_stop(disk: Disk, tmp_path: Path) -> None:
    del disk
    # A process of its own, as a user starts it.
    launcher = CommandLauncher(f"{sys.executable} -m model_server")
    with running(launcher, [f"--model_config_file={tmp_path / 'models.config'}"], tmp_path / "log") as server:
        caller = Caller(server.require_listening())
        n = int(_steps_per_second(caller) * 1.5)
        answers: list[tuple[str, str]] = []
        with _in_background(lambda: answers.append(_count(caller, n))):
            time.sleep(0.3)
            server.process.send(signal.SIGTERM)
        assert answers == [("OK", "")]
        assert server.wait() == 0
        assert _count(caller, 1, timeout_seconds=5)[0] == "UNAVAILABLE"
        caller.close()


@pytest.mark.usefixtures("embedded")
def test_a_load_without_end_does_not_keep_a_server_that_is_told_to_stop(disk: Disk, tmp_path: Path) -> None:
    warmup = [{"inputs": {"n": {"dtype": "DT_INT32", "tensor_shape": {}, "int_val": [2**31 - 1]}}}]
    disk.publish_warmed("endless/1", "slow/1", warmup)
    # A process of its own, as a user starts it.
    launcher = CommandLauncher(f"{sys.executable} -m model_server")
    with running(launcher, [f"--model_base_path={tmp_path / 'endless'}"], tmp_path / "log") as server:
        _until(lambda: "are to be served" in server.output)
        # The graph is read in less; what follows runs the warm-up.
        time.sleep(1.0)
        server.process.send(signal.SIGTERM)
        assert server.wait(10) == 0


@pytest.mark.usefixtures("embedded")
def test_a_port_in_use_is_one_line_and_the_exit_code_of_the_real_server(tmp_path: Path) -> None:
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
    assert ended.returncode == 255
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Failed to start server. Error: cannot listen on 127.0.0.1:{port}")
    assert line.endswith("Address already in use")
