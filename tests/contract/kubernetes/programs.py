"""What our programs are: their settings, their command lines, what they answer. Asked from the programs themselves."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from gateway.http.app import App
from gateway.http.calls import Calls
from gateway.http.cors import Cors
from gateway.http.metrics import HttpMetrics
from gateway.http.settings import HttpSettings
from gateway.settings import GatewaySettings
from ranking_service.settings import RankingSettings
from retrieval_service.settings import RetrievalSettings
from tests.ports import free_port
from twostage.rpc.health import LIVENESS
from twostage.rpc.metrics_endpoint import LIVENESS_PATH, READINESS_PATH
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings, SettingsError, load_settings


class CommandLineWrong(Exception):
    """A program refuses its command line; the message is its own."""


@dataclass(frozen=True)
class Program:
    """A service that is started as a module.

    Args:
        module: E.g. ``gateway.http``.
        settings: Its settings.
        port_name: What its main port is called in manifests: ``grpc`` or ``http``.
        written: Settings that name what it writes.
    """

    module: str
    settings: type[ServiceSettings]
    port_name: str
    written: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """How its variables begin."""
        return str(self.settings.model_config["env_prefix"])


PROGRAMS: Mapping[str, Program] = {
    each.module: each
    for each in (
        Program("gateway", GatewaySettings, "grpc", ("users", "impressions")),
        Program("gateway.http", HttpSettings, "http"),
        Program("retrieval_service", RetrievalSettings, "grpc"),
        Program("ranking_service", RankingSettings, "grpc", ("model_config_file",)),
    )
}


def parse_flags(program: Program, arguments: Sequence[str]) -> dict[str, object]:
    """Reads a service's flags by its own parser.

    Raises:
        CommandLineWrong: It refuses them.
    """
    module = import_module(f"{program.module}.__main__")
    received: list[Mapping[str, object]] = []

    def note(_module: str, flags: Mapping[str, object]) -> int:
        received.append(flags)
        return 0

    complaint = StringIO()
    # Everything but the start of the server: some modules set variables before it.
    with mock.patch.object(module, "run_server", note), mock.patch.dict(os.environ), redirect_stderr(complaint):
        try:
            module.main(list(arguments))
        except SystemExit as error:
            raise CommandLineWrong(complaint.getvalue().strip().splitlines()[-1]) from error
    return dict(received[0])


def read_settings(
    program: Program, environment: Mapping[str, str], flags: Mapping[str, object], config: str | None
) -> ServiceSettings:
    """Reads a service's settings as it would in its container.

    Args:
        program: Whose.
        environment: The container's variables.
        flags: As :func:`parse_flags` gave them.
        config: The content of its YAML file; None for no file.

    Raises:
        SettingsError: It refuses them.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        given = {key: value for key, value in flags.items() if key != "config"}
        variables = {key: value for key, value in environment.items() if key != f"{program.prefix}CONFIG"}
        if config is not None:
            file.write_text(config, encoding="utf-8")
            given["config"] = str(file)
        with mock.patch.dict(os.environ, variables, clear=True):
            try:
                return load_settings(program.settings, given)
            except SettingsError as error:
                # Where it was read from here says nothing, and would tell apart what is one fault.
                raise SettingsError(str(error).replace(str(file), "its YAML file")) from error


@dataclass(frozen=True)
class Answers:
    """What probes may ask of a service.

    Args:
        ready_names: Services of ``grpc.health.v1`` that are NOT_SERVING before it can serve.
        live_names: Those that are SERVING as soon as it listens.
        main_paths: HTTP paths that its main port answers, with the status before it can serve.
        metrics_paths: Likewise of its metrics port.
    """

    ready_names: frozenset[str]
    live_names: frozenset[str]
    main_paths: Mapping[str, int]
    metrics_paths: Mapping[str, int]


# Those of the metrics port by name; the HTTP face has its own.
_PATHS = (LIVENESS_PATH, READINESS_PATH, "/healthz", "/livez", "/readyz")


@cache
def answers_of(module: str) -> Answers:
    """Starts a service without a generation, or without its gateway, and asks it for what it answers.

    Args:
        module: Of `PROGRAMS`.
    """
    if module == "gateway.http":
        # Its metrics port is that of the others.
        others = answers_of("ranking_service").metrics_paths
        return Answers(frozenset(), frozenset(), _answered({path: _face_status(path) for path in _PATHS}), others)
    with tempfile.TemporaryDirectory() as folder, _listening(module, Path(folder)) as server:
        with grpc.insecure_channel(server.address) as channel:
            states = dict(_states(channel, ["", LIVENESS, *_services(channel)]))
        serving = health_pb2.HealthCheckResponse.SERVING
        return Answers(
            frozenset(name for name, state in states.items() if state != serving),
            frozenset(name for name, state in states.items() if state == serving),
            {},
            _answered({path: _status(f"http://{server.metrics_address}{path}") for path in _PATHS}),
        )


def _answered(statuses: Mapping[str, int]) -> dict[str, int]:
    return {path: status for path, status in statuses.items() if status != 404}


@contextmanager
def _listening(module: str, folder: Path) -> Iterator[ServiceServer]:
    given: dict[str, Any] = {"store": str(folder / "store"), "port": 0, "metrics_port": free_port()}
    if module == "gateway":
        given["users"] = str(folder / "users.db")
    logger = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with mock.patch.dict(os.environ, clear=True):
        settings = load_settings(PROGRAMS[module].settings, given)
    server: ServiceServer = import_module(f"{module}.server").build(settings, logger)[0]
    try:
        server.start()
        yield server
    finally:
        server.stop(0)


def _services(channel: grpc.Channel) -> list[str]:
    ask: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    answer = next(
        iter(ask.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10))
    )
    return [each.name for each in answer.list_services_response.service]


def _states(channel: grpc.Channel, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The health under each of the names that the server knows."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    check = stub.Check
    for name in names:
        try:
            yield name, check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of a server that we started
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _face_status(path: str) -> int:
    """What the HTTP face answers a path on its main port while its gateway is not there."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(message["status"]))

    async def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
            app = App(
                Calls(channel, max_wait_seconds=1.0),
                HttpMetrics(CollectorRegistry()),
                max_body_bytes=1024,
                body_seconds=1.0,
                cors=Cors(frozenset()),
            )
            scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(app(scope, receive, send), 10)

    asyncio.run(ask())
    return statuses[0]
