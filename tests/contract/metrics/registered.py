"""Every metric that a service registers, read from the registries of real services that have everything turned on."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import gateway.server
import ranking_service.server
import retrieval_service.server
from gateway.http.server import HttpServer
from gateway.http.settings import HttpSettings
from gateway.settings import GatewaySettings
from model_server.metrics import Metrics
from ranking_service.settings import RankingSettings
from retrieval_service.settings import RetrievalSettings
from tests.certificates import Authority
from twostage.commands.sync import Watch
from twostage.rpc.process_group_metrics import ProcessGroupMetrics
from twostage.rpc.settings import load_settings

_CLIENTS = "clients:\n  - name: shop\n    keys:\n      - sha256: " + "a" * 64 + "\n"
_EXPERIMENTS = "experiments: []\n"
_ENDPOINT = "http://127.0.0.1:1"


class Family(NamedTuple):
    """A metric.

    Args:
        name: As PromQL asks for it, without ``_bucket``, ``_sum`` and ``_count``.
        kind: ``counter``, ``gauge``, ``histogram`` or ``summary``.
        labels: Their names in order; a histogram's ``le`` is not among them.
        documentation: What the program says of it.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    documentation: str


@functools.cache
def registered_families() -> Mapping[str, Mapping[str, Family]]:
    """The metrics of every service by name: gateway, http, retrieval, ranking, workers, model_server, sync.

    What several processes of one service and their parent expose together is ``workers``, beside what the service has.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = _Made(Path(folder))
        found = {name: _families(registry()) for name, registry in made.registries().items()}
    found["model_server"] = _model_server_families()
    return found


class _Made:
    """Services that are built and never started."""

    def __init__(self, folder: Path) -> None:
        (folder / "store").mkdir()
        (folder / "clients.yaml").write_text(_CLIENTS)
        (folder / "experiments.yaml").write_text(_EXPERIMENTS)
        certificate, key = Authority().sign("localhost").write(folder, "server")
        self._folder = folder
        self._common: dict[str, Any] = {
            "store": folder / "store",
            "port": 0,
            "metrics_port": 0,
            "tls_certificate": certificate,
            "tls_key": key,
            "trace_endpoint": _ENDPOINT,
        }
        self._logger = structlog.get_logger()

    def registries(self) -> dict[str, Callable[[], CollectorRegistry]]:
        return {
            "gateway": self._gateway,
            "http": self._http,
            "retrieval": self._retrieval,
            "ranking": self._ranking,
            "workers": self._workers,
            "sync": self._sync,
        }

    def _gateway(self) -> CollectorRegistry:
        folder = self._folder
        settings = load_settings(
            GatewaySettings,
            {
                **self._common,
                "users": folder / "users.sqlite",
                "clients": folder / "clients.yaml",
                "experiments": folder / "experiments.yaml",
                "impressions": folder / "impressions",
                "impressions_unkeyed": True,
            },
        )
        server, _ = gateway.server.build(settings, self._logger)
        server.stop(0)
        return server.metrics.registry

    def _http(self) -> CollectorRegistry:
        common = {name: value for name, value in self._common.items() if name != "store"}
        with grpc.insecure_channel("127.0.0.1:1") as channel:
            server = HttpServer(load_settings(HttpSettings, {**common, "grace_seconds": 0.0}), channel, self._logger)
            server.close()
        return server.metrics.registry

    def _retrieval(self) -> CollectorRegistry:
        server, _ = retrieval_service.server.build(load_settings(RetrievalSettings, self._common), self._logger)
        server.stop(0)
        return server.metrics.registry

    def _ranking(self) -> CollectorRegistry:
        server, _ = ranking_service.server.build(load_settings(RankingSettings, self._common), self._logger)
        server.stop(0)
        return server.metrics.registry

    def _workers(self) -> CollectorRegistry:
        group = ProcessGroupMetrics(2, lambda: ())
        group.close()
        return group.registry

    def _sync(self) -> CollectorRegistry:
        watch: Any = Watch
        registry: CollectorRegistry = watch(None, self._logger).registry
        return registry


def _families(registry: CollectorRegistry) -> dict[str, Family]:
    return {family.name: family for collector in _collectors(registry) for family in _families_of(collector)}


def _collectors(registry: CollectorRegistry) -> list[Collector]:
    return list(registry._collector_to_names)


def _families_of(collector: Collector) -> Iterator[Family]:
    """The families of one collector; one without samples tells its labels by its names alone."""
    declared: Any = getattr(collector, "_labelnames", None) or getattr(collector, "_label_names", None)
    describe = getattr(collector, "describe", None)
    for metric in describe() if describe is not None else collector.collect():
        labels = tuple(declared or _sampled_labels(metric))
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        yield Family(name, metric.type, labels, metric.documentation)


def _sampled_labels(metric: Any) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for sample in metric.samples:
        found.update(dict.fromkeys(name for name in sample.labels if name not in {"le", "quantile"}))
    return tuple(found)


def _model_server_families() -> dict[str, Family]:
    metrics = Metrics()
    metrics.count_request("m", "OK")
    metrics.time_request("m", "Predict", "GRPC", 100.0)
    metrics.time_run("m", "Predict", 100.0)
    found = {}
    for metric in text_string_to_metric_families(metrics.expose()):
        labels = _sampled_labels(metric)
        # The real server's counter has no suffix.
        found[metric.name] = Family(metric.name, metric.type, labels, metric.documentation)
    return found
