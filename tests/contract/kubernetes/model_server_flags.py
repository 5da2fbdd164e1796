"""The command line of TensorFlow Serving's container: its own flags, with the values that the design asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

from model_server.flags import Flags
from model_server.real_flags import REFUSED
from ranking_service.settings import RankingSettings
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import command_line, image_name, processes_of
from tests.contract.kubernetes.rendered import Container, Rendered

# Ours alone.
_NOT_REAL = ("aspired_version_policy", "host")
KNOWN = {field.name: type(field.default) for field in fields(Flags) if field.name not in _NOT_REAL}

_WANTED = {
    # A version that cannot be loaded must not hold up the others, nor be tried for five minutes.
    "num_load_threads": "1",
    "num_unload_threads": "1",
    "max_num_load_retries": "0",
    # On by default, open to whoever reaches the port.
    "enable_profiler": "false",
}


def is_model_server(container: Container) -> bool:
    """Whether TensorFlow Serving runs in the container."""
    image = image_name(container.image)
    return image == "tensorflow/serving" or image.endswith("/tensorflow/serving")


def flags_of(container: Container) -> dict[str, str]:
    """The flags by name; one without a value is ``true``."""
    words = command_line(container)
    pairs = [word.removeprefix("--").partition("=") for word in words[1:] if word.startswith("--")]
    return {name: value if separator else "true" for name, separator, value in pairs}


def check_model_server(rendered: Rendered) -> Iterator[Problem]:
    """Flags that the server does not know, values that it cannot read or that the design warns of, wrong ports."""
    for workload in rendered.workloads:
        settings = next(
            (each.settings for each in processes_of(workload) if isinstance(each.settings, RankingSettings)), None
        )
        for container in workload.containers:
            if is_model_server(container):
                for message in (*_flags(container), *_ports(container), *_limits(container, settings)):
                    yield Problem("model server", container.subject, message)


def _flags(container: Container) -> Iterator[str]:
    if container.command != ["tensorflow_model_server"]:
        yield f"command: expected [tensorflow_model_server], so that signals reach it, found {container.command}"
    for word in container.arguments:
        match = re.fullmatch(r"--(\w+)(?:=(.*))?", word, re.DOTALL)
        if match is None:
            yield f"argument {word!r}: expected --flag=value"
            continue
        name, value = match[1], match[2]
        if name not in KNOWN and name not in REFUSED:
            yield f"flag --{name}: TensorFlow Serving has none of that name"
        kind = KNOWN.get(name)
        if kind is bool and (value or "true").lower() not in ("true", "false", "0", "1"):
            yield f"flag --{name}: expected true or false, found {value!r}"
        if kind is int and not re.fullmatch(r"-?\d+", value or ""):
            yield f"flag --{name}: expected a whole number, found {value!r}"
    found = flags_of(container)
    for name, wanted in _WANTED.items():
        if found.get(name) != wanted:
            yield f"flag --{name}: expected {wanted}, found {found.get(name)}"
    if found.get("enable_batching", "false") == "true":
        yield "flag --enable_batching: expected none, for one request is a batch already"
    if not found.get("model_config_file"):
        yield "flag --model_config_file: expected one, in which versions are named"
    elif int(found.get("model_config_file_poll_wait_seconds", "0")) <= 0:
        yield "flag --model_config_file_poll_wait_seconds: expected more than 0, for ranking rewrites the file"


def _ports(container: Container) -> Iterator[str]:
    found = flags_of(container)
    listens = {int(found.get("port", "8500")), int(found.get("rest_api_port", "0"))} - {0}
    declared = {each["containerPort"] for each in container.ports}
    if declared != listens:
        yield f"ports: expected {sorted(listens)} as the flags say, found {sorted(declared)}"


def _limits(container: Container, settings: RankingSettings | None) -> Iterator[str]:
    if settings is None:
        yield "expected a ranking service in the same pod, found none"
        return
    found = flags_of(container)
    threads = int(found.get("grpc_max_threads", "0"))
    if threads <= settings.model_server_max_in_flight:
        most = settings.model_server_max_in_flight
        yield f"flag --grpc_max_threads: expected more than model_server_max_in_flight {most}, found {threads}"
    address = settings.model_server
    if address.startswith("unix:"):
        wanted = "/" + address.removeprefix("unix:").lstrip("/")
        if found.get("grpc_socket_path") != wanted:
            given = found.get("grpc_socket_path")
            yield f"flag --grpc_socket_path: expected {wanted}, where ranking asks, found {given}"
    elif address.rpartition(":")[2] != found.get("port", "8500"):
        yield f"flag --port: expected that of ranking's model_server {address}, found {found.get('port', '8500')}"


def rest_path_problem(kind: str, path: str) -> str | None:
    """What is wrong with a probe's path on the REST port; None where nothing is."""
    monitoring = "/monitoring/prometheus/metrics"
    if re.fullmatch(r"/v1/models/[A-Za-z0-9_.-]+/metadata", path) or (kind != "readiness" and path == monitoring):
        return None
    # The model's own page is answered 200 in any state.
    return f"{kind}Probe: httpGet path: expected /v1/models/<model>/metadata, found {path}"
