"""The servers of one store on one machine: how each is started, watched and stopped."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

from twostage.bundle.checksums import verify_files
from twostage.bundle.errors import BundleError
from twostage.bundle.store import Store
from twostage.generations.model_config import model_config_text
from twostage.generations.pointer import named_by
from twostage.history_import import HistoryImport
from twostage.model_server_process import model_server_process
from twostage.processes import ChildFailedError, ServiceProcess, describe_exit
from twostage.tfserving.client import ModelServerClient
from twostage.tfserving.errors import ModelServerError
from twostage.tfserving.model_info import VersionState

RESTART_SECONDS = (0.2, 1.0, 3.0, 10.0)
"""How long to wait before starting a dead child again: after its first death in a row, its second, and so on."""


@dataclass(frozen=True)
class Ports:
    """Where each server listens on loopback; metrics ports of 0 serve no metrics.

    Where the index is served by shards, their servers take the first of ``shards`` and ``shard_metrics`` instead of
    ``retrieval`` and ``retrieval_metrics``; where there are fewer ports for metrics, the others serve none. With an
    ``http`` port of 0 nobody serves JSON over HTTP.
    """

    gateway: int = 50050
    retrieval: int = 50051
    ranking: int = 50052
    model_server: int = 8500
    gateway_metrics: int = 9100
    retrieval_metrics: int = 9101
    ranking_metrics: int = 9102
    shards: Sequence[int] = range(50060, 51060)
    shard_metrics: Sequence[int] = range(9110, 10110)
    http: int = 0
    http_metrics: int = 9103

    @classmethod
    def free(cls, *, shard_count: int = 0) -> Ports:
        """Ports that nobody listens on now, without metrics; for a stack beside others.

        Args:
            shard_count: How many ports there are for shards.
        """
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(4 + shard_count)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            gateway, retrieval, ranking, model_server, *shards = (int(each.getsockname()[1]) for each in sockets)
        return cls(gateway, retrieval, ranking, model_server, 0, 0, 0, shards=shards, shard_metrics=())


class Listener(NamedTuple):
    """Where one server listens on loopback; a metrics port of 0 serves none."""

    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        """Its address for callers."""
        return f"127.0.0.1:{self.port}"


def _listeners(ports: Ports, shard_count: int) -> dict[str, Listener]:
    """Where each server listens, by name."""
    if shard_count == 1:
        retrieval = {"retrieval": Listener(ports.retrieval, ports.retrieval_metrics)}
    elif shard_count > len(ports.shards):
        raise ChildFailedError(f"ports: expected one for each of {shard_count} shards, received {len(ports.shards)}")
    else:
        metrics = chain(ports.shard_metrics, repeat(0))
        retrieval = {
            f"retrieval {index}": Listener(port, metrics_port)
            for index, port, metrics_port in zip(range(shard_count), ports.shards, metrics, strict=False)
        }
    return {
        "gateway": Listener(ports.gateway, ports.gateway_metrics),
        **retrieval,
        "ranking": Listener(ports.ranking, ports.ranking_metrics),
        "model server": Listener(ports.model_server, 0),
        **({"http": Listener(ports.http, ports.http_metrics)} if ports.http else {}),
    }


class Stack:
    """Model server, retrieval, ranking and gateway of one store, each a process of its own.

    Retrieval is one process that holds the whole index, or one for each of the index's shards.

    Args:
        store: The store; what its CURRENT names is served, also when it moves.
        ports: Where to listen.
        users: The user store's SQLite file, or the URL of a Redis server.
        on_line: Called with (name, line) for what the children print.
        say: Called with a line for a person, e.g. when a child died.
        restart: True starts a dead child again.
        by_shard: True serves every shard of the index by a process of its own.
        gateway_flags: Further flags of the gateway's command line; none by default.

    Attributes:
        generation: What was current when the stack was made, or the one before where its models are not whole.

    Raises:
        BundleError: There is no generation to serve, or neither the current one's models nor those of the one before
            are what they should be.
        ChildFailedError: There are fewer ports than shards.
    """

    def __init__(
        self,
        store: Store,
        *,
        ports: Ports,
        users: Path | str,
        on_line: Callable[[str, str], None],
        say: Callable[[str], None],
        restart: bool = True,
        by_shard: bool = False,
        gateway_flags: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.ports = ports
        self.users = users
        self._on_line = on_line
        self._say = say
        self._restart = restart
        self._stopping = False
        self._run_folder: Path | None = None
        self._deaths: dict[str, int] = {}
        self._restart_at: dict[str, float] = {}
        self._histories = HistoryImport(store, users, on_line=on_line, say=say)
        self._named = self._nameable(_named_by_current(store))
        self.generation = next(iter(self._named))
        index = store.manifest(self.generation).tower.index
        self.listeners = _listeners(ports, len(index.shard_files) if by_shard else 1)
        self._run_folder = Path(tempfile.mkdtemp(prefix="twostage-"))
        config = self._run_folder / "models.config"
        config.write_text(model_config_text(store, self._named), encoding="utf-8")
        self.model_server = model_server_process(config, ports.model_server, on_line)
        self.retrieval = tuple(self._retrieval())
        self.ranking = self._python(
            "ranking_service",
            "ranking",
            *("--model-server", self.listeners["model server"].address),
            *("--model-config-file", str(config)),
        )
        self.gateway = self._python(
            "gateway",
            "gateway",
            *("--retrieval", ";".join(self.listeners[child.name].address for child in self.retrieval)),
            *("--ranking", self.listeners["ranking"].address),
            *("--users", str(users)),
            *gateway_flags,
        )
        self.http = tuple(self._http())

    @property
    def children(self) -> tuple[ServiceProcess, ...]:
        """The servers, those that others need first."""
        return (self.model_server, *self.retrieval, self.ranking, self.gateway, *self.http)

    def import_histories(self) -> None:
        """Imports the histories that training wrote into the user store; those imported before are left alone.

        Raises:
            ChildFailedError: A port is taken, which is told before an import that takes a while; or the import failed.
            BundleError: The histories of a remote store cannot be fetched.
        """
        self._require_free_ports()
        self._histories.run(self.generation)

    def start(self, timeout_seconds: float = 60.0) -> dict[str, float]:
        """Starts all servers at once and waits until each is SERVING; from then on histories of new generations follow.

        Returns:
            Seconds from start to SERVING, by name.

        Raises:
            ChildFailedError: A port is taken, or a server ended or did not serve in time.
        """
        if self._stopping:
            return {}
        self._require_free_ports()
        for child in self.children:
            child.start()
        seconds: dict[str, float] = {}
        waiting = list(self.children)
        deadline = time.monotonic() + timeout_seconds
        while waiting and not self._stopping:
            for child in list(waiting):
                ready = self._model_available if child is self.model_server else child.is_serving
                if ready():
                    seconds[child.name] = time.monotonic() - child.started_at
                    waiting.remove(child)
                else:
                    child.check_running(deadline)
            time.sleep(0.02)
        if not self._stopping:
            self._histories.follow()
        return seconds

    def _require_free_ports(self) -> None:
        listeners = self.listeners.items()
        named = [(name, listener.port) for name, listener in listeners]
        named += [(f"{name} metrics", listener.metrics_port) for name, listener in listeners if listener.metrics_port]
        for name, port in named:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise ChildFailedError(f"{name} port {port}: {error.strerror or error}") from error

    def watch(self) -> None:
        """Looks once after every child: reports the dead, and starts them again when their wait is over."""
        now = time.monotonic()
        for child in self.children:
            code = child.exit_code()
            if code is None:
                if self._deaths.get(child.name) and now - child.started_at > 60:
                    del self._deaths[child.name]  # it lives: the next death is a first one
                continue
            if child.name not in self._restart_at:
                deaths = self._deaths.get(child.name, 0)
                wait = RESTART_SECONDS[min(deaths, len(RESTART_SECONDS) - 1)]
                self._deaths[child.name] = deaths + 1
                self._restart_at[child.name] = now + wait if self._restart else float("inf")
                then = f"starting it again in {wait:g} s" if self._restart else "the others go on without it"
                self._say(f"{child.name} died with {describe_exit(code)}; {then}")
            elif now >= self._restart_at[child.name] and not self._stopping:
                del self._restart_at[child.name]
                child.start()
                self._say(f"{child.name} was started again (process {child.pid})")

    def stop(self) -> None:
        """Stops all servers, those that others need last."""
        self._stopping = True
        self._histories.close()
        for child in reversed(self.children):
            child.terminate()
            child.wait_stopped()
        if self._run_folder:
            shutil.rmtree(self._run_folder, ignore_errors=True)

    def abandon_start(self) -> None:
        """Makes a start that waits in another frame, e.g. under a signal handler, return."""
        self._stopping = True
        self._histories.abandon()

    def _retrieval(self) -> Iterator[ServiceProcess]:
        names = [name for name in self.listeners if name.startswith("retrieval")]
        for index, name in enumerate(names):
            shard = ("--shard", str(index)) if len(names) > 1 else ()
            yield self._python("retrieval_service", name, *shard)

    def _http(self) -> Iterator[ServiceProcess]:
        """JSON over HTTP before the gateway, where a port is given for it."""
        listener = self.listeners.get("http")
        if listener is not None:
            yield ServiceProcess.python(
                "gateway.http",
                *("--gateway", self.listeners["gateway"].address),
                *("--port", str(listener.port)),
                *("--metrics-port", str(listener.metrics_port)),
                name="http",
                on_line=self._on_line,
            )

    def _python(self, module: str, name: str, *arguments: str) -> ServiceProcess:
        listener = self.listeners[name]
        return ServiceProcess.python(
            module,
            *("--store", self.store.location),
            *("--port", str(listener.port)),
            *("--metrics-port", str(listener.metrics_port)),
            *arguments,
            name=name,
            on_line=self._on_line,
        )

    def _nameable(self, current: int) -> dict[int, str]:
        """The current generation and the one before, with the default ranker's model, where their models are whole.

        Raises:
            BundleError: None can be served; why the current one cannot.
        """
        named: dict[int, str] = {}
        failure: BundleError | None = None
        for number in (current, self.store.previous(current)):
            if number is None:
                continue
            try:
                self.store.fetch(number, (), models=True)
                manifest = self.store.manifest(number)
                verify_files(self.store.path, manifest.model_files)
            except BundleError as error:
                failure = failure or error
                self._say(f"generation {number} is left out: {error}")
            else:
                named[number] = manifest.ranker.model
        if not named:
            assert failure is not None
            raise failure
        return named

    def _model_available(self) -> bool:
        with ModelServerClient(f"127.0.0.1:{self.ports.model_server}") as client:
            return any(_is_available(client, model, number) for number, model in self._named.items())


def _named_by_current(store: Store) -> int:
    """What CURRENT names, whether or not it is there, as for the servers; what cannot be served is told later.

    Raises:
        BundleError: CURRENT names nothing.
    """
    try:
        return store.current()
    except BundleError as error:
        named = named_by(error)
        if named is None:
            raise
        return named


def _is_available(client: ModelServerClient, model: str, version: int) -> bool:
    try:
        status = client.model_status(model, version, timeout_seconds=0.5)
    except ModelServerError:
        return False
    return status[version].state is VersionState.AVAILABLE
