"""Pods of services on a network of their own, and the records by which they are found."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

from tests.bundles import make_store
from tests.integration.cluster.name_server import NameServer, resolv_conf
from tests.integration.cluster.namespaces import Host, Network
from twostage.bundle.store import Store
from twostage.generations.model_config import model_config_text
from twostage.model_server_process import model_server_process
from twostage.processes import ServiceProcess

ITEM_COUNT = 200
CANDIDATE_COUNT = 60
READINESS_SECONDS = 3
"""How long a pod serves on after it was asked to end."""

MODULES = {"gateway": "gateway", "retrieval": "retrieval_service", "ranking": "ranking_service"}
PORTS = {"gateway": 50050, "retrieval": 50051, "ranking": 50052}
METHODS = {
    "gateway": "twostage.v1.RecommendationService/Recommend",
    "retrieval": "twostage.v1.RetrievalService/Retrieve",
    "ranking": "twostage.v1.RankingService/Rank",
}
_METRICS_PORT = 9100
_MODEL_SERVER_PORT = 8500
_NAME_SERVER = 2
_MODEL_SERVER = 3
_FIRST_POD = 10


@dataclass(eq=False)
class Pod:
    """One process of a service in a namespace of its own.

    Args:
        service: Of which.
        host: Where it runs.
        process: The process.
        terminated_at: When it was asked to end, by ``time.monotonic``.
    """

    service: str
    host: Host
    process: ServiceProcess
    terminated_at: float = float("inf")

    @property
    def address(self) -> str:
        """``host:port`` of the service."""
        return f"{self.host.address}:{PORTS[self.service]}"

    def answered_count(self) -> float:
        """How many requests of the service's main method it has answered."""
        return self.metric("twostage_requests_total", method=METHODS[self.service], code="OK")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of its samples of a metric that have these labels."""
        opener = build_opener(ProxyHandler({}))

        def read() -> str:
            with opener.open(f"http://{self.host.address}:{_METRICS_PORT}/metrics", timeout=5) as response:
                return str(response.read().decode())

        return sum(
            sample.value
            for family in text_string_to_metric_families(self.host.run(read))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@dataclass(eq=False)
class Cluster:
    """Services of several pods, found by a name server, and one model server for all.

    Args:
        folder: For files.
        store: What is served.
        network: Where the pods are.
        names: The name server.
        name_host: Where that listens.
        lines: What the processes said.
        pods: The pods of each service that are in its record, or will be once they serve.
        settings: Further settings of each service, told by the environment.
    """

    folder: Path
    store: Store
    network: Network
    names: NameServer
    name_host: Host
    lines: list[str]
    pods: dict[str, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    settings: dict[str, dict[str, object]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        self._numbers = iter(range(_FIRST_POD, 255))
        self._processes: list[ServiceProcess] = []
        # A child is told to end when the thread that started it does: this one lives as long as the cluster.
        self._starter = ThreadPoolExecutor(1)

    def note(self, name: str, line: str) -> None:
        """Keeps a line that a process wrote."""
        self.lines.append(f"{name}: {line}")

    def start(self, service: str, count: int = 1) -> list[Pod]:
        """Starts pods of a service; `join` waits for them."""
        pods = []
        for _ in range(count):
            host = self.network.add(next(self._numbers))
            pods.append(Pod(service, host, self.run(host, service)))
        return pods

    def run(self, host: Host, service: str, *, port: int | None = None) -> ServiceProcess:
        """Starts a service at a host, by default at its own port."""
        settings: dict[str, object] = {
            "store": self.store.path,
            "host": host.address,
            "port": PORTS[service] if port is None else port,
            "metrics_port": _METRICS_PORT,
            **self.settings[service],
        }
        process = ServiceProcess(
            f"{service} {host.address}",
            host.command(sys.executable, "-m", MODULES[service]),
            on_line=self.note,
            environment={f"TWOSTAGE_{service}_{name}".upper(): str(value) for name, value in settings.items()},
        )
        return self.launch(process)

    def launch(self, process: ServiceProcess) -> ServiceProcess:
        """Starts a process that ends with the cluster."""
        self._starter.submit(process.start).result()
        self._processes.append(process)
        return process

    def join(self, pods: Sequence[Pod]) -> None:
        """Waits until pods serve, and puts each into its service's record then, as a cluster does."""
        for pod in pods:
            pod.process.wait_serving(120)
            self.pods[pod.service].append(pod)
            self.publish(pod.service)

    def scale_up(self, service: str, count: int = 1) -> list[Pod]:
        """Adds pods of a service."""
        pods = self.start(service, count)
        self.join(pods)
        return pods

    def leave(self, pod: Pod) -> None:
        """Takes a pod out of its service's record."""
        self.pods[pod.service].remove(pod)
        self.publish(pod.service)

    def remove(self, pod: Pod) -> int:
        """Ends a pod as a cluster does: out of the record and SIGTERM, at once; returns its exit code."""
        self.leave(pod)
        pod.terminated_at = time.monotonic()
        pod.process.terminate()
        return pod.process.wait_stopped()

    def roll(self, service: str) -> list[int]:
        """Replaces every pod of a service, one after the other, each new one first; returns the exit codes."""
        codes = []
        for pod in list(self.pods[service]):
            self.scale_up(service)
            codes.append(self.remove(pod))
        return codes

    def write_models(self) -> Path:
        """Has the model server hold the models of every generation."""
        config = self.folder / "models.config"
        aside = config.with_suffix(".aside")
        aside.write_text(model_config_text(self.store, self.store.generations()), encoding="utf-8")
        aside.replace(config)
        return config

    def publish(self, service: str) -> None:
        """Makes a service's record true; one without pods has no name, as with CoreDNS."""
        self.names.set(service, [pod.host.address for pod in self.pods[service]] or None)

    def helper(self, name: str, module: str, *arguments: str, on_line: Callable[[str, str], None]) -> ServiceProcess:
        """Starts a program in a namespace of its own."""
        host = self.network.add(next(self._numbers))
        process = ServiceProcess(name, host.command(sys.executable, "-m", module, *arguments), on_line=on_line)
        self.launch(process).wait_serving()
        return process

    def stop(self) -> None:
        """Ends every process that still runs."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            process.wait_stopped()
        self._starter.shutdown()


@contextmanager
def cluster(folder: Path, store: Store | None = None, candidate_count: int = CANDIDATE_COUNT) -> Iterator[Cluster]:
    """A name server, a model server, and no pod yet.

    Args:
        folder: For files.
        store: What is served; a small new one when None.
        candidate_count: How many candidates the gateway asks for.
    """
    served = store if store is not None else make_store(folder / "store", item_count=ITEM_COUNT, with_models=True)
    with Network(resolv_conf(Network.address(_NAME_SERVER))) as network:
        name_host = network.add(_NAME_SERVER)
        made = Cluster(folder, served, network, NameServer(name_host), name_host, [])
        try:
            model_server = _model_server(made, network.add(_MODEL_SERVER))
            made.settings["retrieval"] = {"readiness_seconds": READINESS_SECONDS}
            made.settings["ranking"] = {
                "readiness_seconds": READINESS_SECONDS,
                "model_server": model_server,
            }
            made.settings["gateway"] = {
                "readiness_seconds": READINESS_SECONDS,
                "retrieval": "dns:///retrieval:50051",
                "ranking": "dns:///ranking:50052",
                "users": folder / "users.sqlite",
                "candidate_count": candidate_count,
            }
            yield made
        finally:
            made.stop()
            made.names.stop()


def _model_server(made: Cluster, host: Host) -> str:
    process = model_server_process(made.write_models(), _MODEL_SERVER_PORT, made.note)
    listening = [] if shutil.which("tensorflow_model_server") else [f"--host={host.address}"]
    made.launch(ServiceProcess("model server", host.command(*process.command, *listening), on_line=made.note))
    return f"{host.address}:{_MODEL_SERVER_PORT}"


def until(condition: Callable[[], object], seconds: float = 60.0) -> float:
    """Waits for something, and says how many seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"it did not come about within {seconds:g} s"
        time.sleep(0.02)
    return time.monotonic() - began


def shares(pods: Sequence[Pod], seconds: float) -> list[float]:
    """The part of the requests that each pod answers in the next so many seconds."""
    before = [pod.answered_count() for pod in pods]
    threading.Event().wait(seconds)
    counts = [pod.answered_count() - earlier for pod, earlier in zip(pods, before, strict=True)]
    return [count / max(sum(counts), 1.0) for count in counts]
