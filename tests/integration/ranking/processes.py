"""The ranking service and the model server as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.ports import free_port
from twostage.bundle.store import Store
from twostage.tfserving import ModelServerClient, ModelServerError, VersionState
from twostage.v1 import common_pb2, ranking_pb2, ranking_pb2_grpc

START_SECONDS = 60.0
# As a user would run it: what an operator's shell sets must not decide these tests.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("TWOSTAGE_")}


class ModelServerProcess:
    """``python -m model_server`` over a store, on a port that stays the same over restarts."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [f"--port={self.port}", "--model_name=default", "--tensorflow_intra_op_parallelism=1"]
        base = f"--model_base_path={self.store.models_path / 'default'}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "model_server", *arguments, base],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with ModelServerClient(self.address) as client:
            while time.monotonic() < deadline:
                try:
                    if client.model_status("default", 1, 1.0)[1].state is VersionState.AVAILABLE:
                        return
                except ModelServerError:
                    pass
                time.sleep(0.05)
        raise TimeoutError(f"no model server at {self.address}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class RankingProcess:
    """``python -m ranking_service``."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    channel: grpc.Channel = None  # type: ignore[assignment]

    @classmethod
    def start(cls, store: Path, model_server: str, *arguments: str) -> RankingProcess:
        command = [sys.executable, "-m", "ranking_service", "--store", str(store), "--model-server", model_server]
        process = subprocess.Popen(
            [*command, "--metrics-port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        return cls(process)

    def connect(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)

    def wait_serving(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.communicate()[1])
        self.connect(json.loads(line)["address"])
        # Read on, lest a full pipe blocks the service.
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def rank(self, request: ranking_pb2.RankRequest, timeout: float = 5.0) -> ranking_pb2.RankResponse:
        response: ranking_pb2.RankResponse = ranking_pb2_grpc.RankingServiceStub(self.channel).Rank(
            request, timeout=timeout
        )
        return response

    def status(self) -> common_pb2.ServiceStatus:
        stub = ranking_pb2_grpc.RankingServiceStub(self.channel)
        # It may still be starting.
        response = stub.GetStatus(
            ranking_pb2.RankingServiceGetStatusRequest(), timeout=START_SECONDS, wait_for_ready=True
        )
        status: common_pb2.ServiceStatus = response.status
        return status

    def health(self) -> int:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=START_SECONDS, wait_for_ready=True).status)

    def failed_start(self) -> str:
        """Waits for a start that fails and gives the lines of standard error that are no log."""
        _, errors = self.process.communicate(timeout=START_SECONDS)
        assert self.process.returncode == 1, errors
        lines = [line for line in errors.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, errors
        return lines[0]

    def stop(self) -> int:
        if self.channel is not None:
            self.channel.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return self.process.returncode


class Start(Protocol):
    def __call__(self, store: Path, model_server: str, *arguments: str) -> RankingProcess: ...
