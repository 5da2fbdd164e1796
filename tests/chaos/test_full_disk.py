"""A full disk under the log: requests are answered as ever, what is lost is counted, and the log goes on afterwards."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from tests.bundles import make_store
from tests.integration.gateway.servers import start, stop
from tests.ports import free_port
from twostage.impressions.log import open_log
from twostage.processes import ServiceProcess
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

DISK_BYTES = 256 * 2**10
SECRET = "a secret of the tests"


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, or a skip where nobody may mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)  # noqa: S607 - wherever the system has it


class Asked:
    """A gateway process whose stages are not there: it answers popular items, and logs them."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.lines: list[str] = []
        store = make_store(folder / "store", item_count=200)
        (folder / "key").write_text(SECRET)
        flags = {
            "store": store.path,
            "users": folder / "users.sqlite",
            "port": 0,
            "metrics-port": free_port(),
            "retrieval": f"127.0.0.1:{free_port()}",
            "ranking": f"127.0.0.1:{free_port()}",
            "impressions": log,
            "impressions-key-file": folder / "key",
            "impressions-roll-seconds": 0.3,
        }
        arguments = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
        self.process = ServiceProcess.python(
            "gateway", *arguments, name="gateway", on_line=lambda _name, line: self.lines.append(line)
        )
        start(self.process)
        self._channel = grpc.insecure_channel(str(self.process.announcement["address"]))
        self._stub = gateway_pb2_grpc.RecommendationServiceStub(self._channel)
        self.request_ids: list[str] = []

    def ask(self, count: int) -> None:
        request = gateway_pb2.RecommendRequest(user_id="ann", count=50)
        for _ in range(count):
            response: gateway_pb2.RecommendResponse = self._stub.Recommend(request, timeout=5)
            assert len(response.recommendations) == 50
            self.request_ids.append(response.request_id)

    def metric(self, name: str) -> float:
        from urllib.request import urlopen  # noqa: PLC0415 - only here

        with urlopen(f"http://{self.process.announcement['metrics_address']}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        ours = [line for line in lines if line.startswith(name) and 'log="impressions"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in ours)

    def close(self) -> None:
        self._channel.close()
        if self.process.exit_code() is None:
            stop(self.process)


def fill(ballast: Path) -> None:
    """Writes a file until nothing more fits on the disk."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024))


WRITTEN, DROPPED = "twostage_gateway_log_written_total", "twostage_gateway_log_dropped_total"


def logged(folder: Path) -> list[str]:
    return [name for batch in open_log(folder).impressions(["request_id"]) for name in batch.column(0).to_pylist()]


@pytest.mark.timeout(120)
def test_a_full_disk_under_the_log_costs_no_answer_and_the_log_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        asked = Asked(tmp_path, disk / "log")
        try:
            asked.ask(5)
            until(lambda: asked.metric(WRITTEN) == 5)
            ballast = disk / "ballast"
            fill(ballast)
            asked.ask(40)
            until(lambda: [line for line in asked.lines if "the log cannot be written" in line])
            visible = sorted(path.name for path in (disk / "log").iterdir())
            assert all(name.endswith(".parquet") and not name.startswith(".") for name in visible)
            assert logged(disk / "log") == asked.request_ids[:5]
            ballast.unlink()
            asked.ask(5)
            # What waited meanwhile was kept in memory, so nothing is lost.
            until(lambda: asked.metric(WRITTEN) == 50)
            assert asked.metric(DROPPED) == 0
            assert sorted(logged(disk / "log")) == sorted(asked.request_ids)
        finally:
            asked.close()
        assert not [line for line in asked.lines if "Traceback" in line]


@pytest.mark.timeout(120)
def test_a_killed_gateway_loses_what_its_open_file_had_and_leaves_whole_files(tmp_path: Path) -> None:
    asked = Asked(tmp_path, tmp_path / "log")
    try:
        asked.ask(5)
        until(lambda: asked.metric(WRITTEN) == 5)
        asked.ask(3)
        os.kill(asked.process.pid, 9)
        until(lambda: asked.process.exit_code() is not None)
    finally:
        asked.close()
    found = logged(tmp_path / "log")
    assert found[:5] == asked.request_ids[:5]
    assert set(found) <= set(asked.request_ids)


def test_sigterm_writes_what_waits(tmp_path: Path) -> None:
    asked = Asked(tmp_path, tmp_path / "log")
    asked.ask(7)
    asked.close()
    assert sorted(logged(tmp_path / "log")) == sorted(asked.request_ids)
