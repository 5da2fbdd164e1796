"""The systems that are measured: how each is started, asked and stopped, and what its processes use."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.process_usage import command_line, cpu_seconds, descendants, tree_cpu_seconds
from benchmarks.whole.answers import CANDIDATE_COUNT, Answer, Asked
from benchmarks.whole.figures import OURS
from benchmarks.whole.generator import Target, as_json, as_message, of_message
from benchmarks.whole.people import KnownPerson
from benchmarks.whole.stores import BuiltStore
from twostage.client import CallFailed, Client, new_event
from twostage.processes import ServiceProcess
from twostage.stack import Ports, Stack
from twostage.v1 import common_pb2, gateway_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc

_START_SECONDS = 240.0
_ASK_SECONDS = 10.0
_ROOT = Path(__file__).parents[2]


class NotAnswered(Exception):
    """A system refused, failed or did not answer in time."""


class System(ABC):
    """One system over one store; `start` before anything else, `stop` in any case.

    Args:
        built: The store.
        folder: A scratch folder.
    """

    name = ""
    has_rungs = False
    can_swap = False

    def __init__(self, built: BuiltStore, folder: Path) -> None:
        self.built = built
        self.folder = folder

    @abstractmethod
    def start(self) -> None:
        """Starts all processes and returns when they serve."""

    @abstractmethod
    def stop(self) -> None:
        """Ends all processes."""

    @property
    @abstractmethod
    def target(self) -> Target:
        """Where the load goes."""

    @abstractmethod
    def ask(self, asked: Asked) -> Answer:
        """Asks once and waits.

        Raises:
            NotAnswered: No answer came.
        """

    @abstractmethod
    def record(self, user_id: str, item_id: str, action: str) -> None:
        """Records an event.

        Raises:
            NotAnswered: It was not taken.
        """

    @abstractmethod
    def candidates(self, person: KnownPerson) -> NDArray[np.int64]:
        """The rows that retrieval hands to the ranker for a person, best first."""

    @abstractmethod
    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far, by process."""


class Ours(System):
    """The whole stack as processes, with the flags that it has by default."""

    name = OURS
    has_rungs = True
    can_swap = True

    def start(self) -> None:
        """See `System`."""
        store = self.built.store
        users = self.folder / "users.sqlite"
        ports = Ports.free()
        self.stack = Stack(store, ports=ports, users=users, on_line=lambda *_: None, say=lambda _: None, restart=False)
        self.stack.import_histories()
        self.stack.start(_START_SECONDS)
        self._client = Client(self.target.address, timeout_seconds=_ASK_SECONDS)
        self._gateway = grpc.insecure_channel(self.target.address)
        self._stub = gateway_pb2_grpc.RecommendationServiceStub(self._gateway)
        self._retrieval = grpc.insecure_channel(self.stack.listeners["retrieval"].address)
        self._retrieve = retrieval_pb2_grpc.RetrievalServiceStub(self._retrieval).Retrieve

    def stop(self) -> None:
        """See `System`."""
        if hasattr(self, "_client"):
            self._client.close()
            self._gateway.close()
            self._retrieval.close()
        if hasattr(self, "stack"):
            self.stack.stop()

    @property
    def target(self) -> Target:
        """See `System`."""
        return Target(f"127.0.0.1:{self.stack.ports.gateway}", is_grpc=True)

    def ask(self, asked: Asked) -> Answer:
        """See `System`."""
        try:
            return of_message(self._stub.Recommend(as_message(asked), timeout=_ASK_SECONDS))
        except grpc.RpcError as error:
            raise NotAnswered(str(error)) from error

    def record(self, user_id: str, item_id: str, action: str) -> None:
        """See `System`."""
        try:
            response = self._client.record([new_event(user_id, item_id, action)])
        except CallFailed as error:
            raise NotAnswered(str(error)) from error
        if response.accepted_count != 1:
            raise NotAnswered(f"expected an event to be accepted, received {response}")

    def candidates(self, person: KnownPerson) -> NDArray[np.int64]:
        """See `System`."""
        request = retrieval_pb2.RetrieveRequest(
            history=common_pb2.History(rows=person.taste_rows.tolist()),
            exclude_rows=person.seen_rows.tolist(),
            count=CANDIDATE_COUNT,
        )
        response = self._retrieve(request, timeout=_ASK_SECONDS)
        return np.array(response.candidates.rows, np.int64)

    def cpu_seconds(self) -> dict[str, float]:
        """See `System`."""
        return {child.name: tree_cpu_seconds(child.pid) for child in self.stack.children}


class _OverHttp(System):
    """A system of another Python that is asked by JSON over HTTP."""

    _module = ""

    def __init__(self, built: BuiltStore, folder: Path, python: Path) -> None:
        super().__init__(built, folder)
        self._python = python
        self._port = Ports.free().gateway
        self._started: set[int] = set()

    def _flags(self) -> list[str]:
        return ["--store", str(self.built.store.path), "--port", str(self._port)]

    def start(self) -> None:
        """See `System`."""
        command = [str(self._python), "-m", self._module, *self._flags()]
        environment = {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = ServiceProcess(self.name, command, on_line=lambda *_: None, environment=environment)
        self._process.start()
        self._process.wait_serving(_START_SECONDS)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ASK_SECONDS)

    def stop(self) -> None:
        """See `System`."""
        if not hasattr(self, "_process"):
            return
        # What it started may outlive it.
        started = [(pid, command_line(pid)) for pid in descendants(self._process.pid)] if self._process.pid else []
        self._process.terminate()
        self._process.wait_stopped()
        for pid, command in started:
            if command and command_line(pid) == command:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @property
    def target(self) -> Target:
        """See `System`."""
        return Target(f"127.0.0.1:{self._port}", is_grpc=False)

    def ask(self, asked: Asked) -> Answer:
        """See `System`."""
        return Answer(self._post("/recommend", as_json(asked))["item_ids"])

    def record(self, user_id: str, item_id: str, action: str) -> None:
        """See `System`."""
        self._post("/events", {"user_id": user_id, "item_id": item_id, "action": action})

    def candidates(self, person: KnownPerson) -> NDArray[np.int64]:
        """See `System`."""
        return np.array(self._post("/candidates", {"user_id": person.asked.user_id})["rows"], np.int64)

    def cpu_seconds(self) -> dict[str, float]:
        """See `System`."""
        used: dict[str, float] = {}
        for pid in descendants(self._process.pid):
            with suppress(OSError):
                name = self._named(command_line(pid))
                used[name] = used.get(name, 0.0) + cpu_seconds(pid)
        return used

    def _named(self, command: list[str]) -> str:  # noqa: ARG002 - for those with several processes
        return "everything"

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            try:
                status, content = self._exchange(path, body)
            except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
                # Servers end connections that nobody used for some seconds.
                self._connection.close()
                status, content = self._exchange(path, body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotAnswered(f"{path}: {error}") from error
        if status != HTTPStatus.OK:
            raise NotAnswered(f"{path}: expected 200, received {status} {content[:200]!r}")
        return json.loads(content)

    def _exchange(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = self._connection.getresponse()
        return response.status, response.read()


class Composed(_OverHttp):
    """The same models composed with Ray Serve."""

    name = "Ray Serve"
    _module = "benchmarks.whole.peers.composed"

    def _flags(self) -> list[str]:
        # A socket's path may have 107 bytes, and Ray's is long.
        self._session = Path(tempfile.mkdtemp(prefix="ray-"))
        return [*super()._flags(), "--folder", str(self._session)]

    def stop(self) -> None:
        """See `System`."""
        super().stop()
        if hasattr(self, "_session"):
            shutil.rmtree(self._session, ignore_errors=True)

    def _named(self, command: list[str]) -> str:
        text = " ".join(command)
        for part, name in (
            ("Retrieval", "retrieval"),
            ("Ranker", "ranking"),
            ("Ingress", "ingress"),
            ("Proxy", "proxy"),
        ):
            if part in text and text.startswith("ray::"):
                return name
        return "Ray itself"


class Tutorial(_OverHttp):
    """The pipeline of a tutorial, in one process."""

    name = "tutorial"
    _module = "benchmarks.whole.peers.tutorial"

    def _flags(self) -> list[str]:
        return [*super()._flags(), "--model", str(self.built.pairwise_model)]
