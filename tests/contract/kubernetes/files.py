"""Paths in settings and command lines lie on volumes that hold them, and that let them be written where they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from tests.contract.kubernetes.commands import twostage_arguments
from tests.contract.kubernetes.model_server_flags import flags_of, is_model_server
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import Process, command_line, processes_of
from tests.contract.kubernetes.references import READ_ONLY_VOLUMES, keys_of
from tests.contract.kubernetes.rendered import Container, Rendered, Workload


def check_files(rendered: Rendered) -> Iterator[Problem]:
    """Paths on no volume, in files that a volume does not have, or written where nothing can be written."""
    for workload in rendered.workloads:
        for process in processes_of(workload):
            for name, path in _paths(process):
                writes = name in process.program.written
                for message in path_problems(process.container, path, writes=writes):
                    yield Problem("file", process.container.subject, f"{name} {path}: {message}")
        for container in workload.containers:
            for name, path, writes in _told(container):
                for message in path_problems(container, path, writes=writes):
                    yield Problem("file", container.subject, f"{name} {path}: {message}")
        for message in _shared(workload):
            yield Problem("file", workload.subject, message)


def _paths(process: Process) -> Iterator[tuple[str, str]]:
    """Settings that are paths in the container, by name."""
    for name in type(process.settings).model_fields:
        value: Any = getattr(process.settings, name)
        if name == "config":
            continue
        if isinstance(value, Path) or (isinstance(value, str) and value.startswith("/")):
            yield name, str(value)
        elif isinstance(value, str) and value.startswith("unix:"):
            yield name, "/" + value.removeprefix("unix:").lstrip("/")


def _told(container: Container) -> Iterator[tuple[str, str, bool]]:
    """Paths on the command line: their flag, and whether they are written."""
    if is_model_server(container):
        for name, value in flags_of(container).items():
            if value.startswith("/"):
                yield f"--{name}", value, name == "grpc_socket_path"
    elif twostage_arguments(container) is not None:
        words = command_line(container)
        stated = [(flag, value) for flag, value in pairwise(words) if value.startswith("/")]
        stated += [tuple(word.split("=", 1)) for word in words if word.startswith("--") and "=/" in word]  # type: ignore[misc]
        for flag, value in stated:
            yield flag, value, flag in ("--store", "--report", "--out")
        store = container.environment.get("TWOSTAGE_STORE", "")
        if store.startswith("/"):
            yield "TWOSTAGE_STORE", store, True


def path_problems(container: Container, path: str, *, writes: bool) -> Iterator[str]:
    """What is wrong with a path that a container is told.

    Args:
        container: Whose.
        path: As it sees it.
        writes: Whether it writes there.
    """
    if ".." in PurePosixPath(path).parts:
        yield "expected no .. in a path"
    place = container.locate(path)
    if place is None:
        if writes:
            yield "no volume is mounted there, and the root is read-only"
        elif not path.startswith(("/opt/", "/usr/", "/etc/ssl/")):
            yield "no volume is mounted there"
        return
    mount, inside = place
    fixed = [kind for kind in READ_ONLY_VOLUMES if kind in mount.volume]
    if writes and (mount.read_only or fixed):
        yield f"expected a volume that can be written, found {mount.volume['name']}"
    known = _names(container.workload.rendered, mount.volume)
    if known is not None and inside and inside not in known:
        yield f"volume {mount.volume['name']} holds {', '.join(sorted(known)) or 'nothing'}"


def _names(rendered: Rendered, volume: Any) -> set[str] | None:
    """The files of a volume; None where nobody knows them before pods run."""
    if "configMap" in volume:
        return set(rendered.configured_files(volume["configMap"]))
    if "secret" in volume:
        if "items" in volume["secret"]:
            return {item["path"] for item in volume["secret"]["items"]}
        return keys_of(rendered, "Secret", volume["secret"]["secretName"])
    return None


def _shared(workload: Workload) -> Iterator[str]:
    """What one container writes and another reads is one file of one volume."""
    ranking = next((each for each in processes_of(workload) if each.program.module == "ranking_service"), None)
    server = next((each for each in workload.containers if is_model_server(each)), None)
    if ranking is not None and server is not None:
        written: Any = getattr(ranking.settings, "model_config_file")  # noqa: B009 - of one of the classes
        wanted = flags_of(server).get("model_config_file", "")
        if written is None or _place(ranking.container, str(written)) != _place(server, wanted):
            yield f"model_config_file {written}: expected the file that the model server reads, {wanted}"
        address: Any = getattr(ranking.settings, "model_server")  # noqa: B009
        if str(address).startswith("unix:"):
            socket = "/" + str(address).removeprefix("unix:").lstrip("/")
            opened = flags_of(server).get("grpc_socket_path", "")
            if _place(ranking.container, socket) != _place(server, opened):
                yield f"model_server {address}: expected the socket that the model server opens, {opened}"
        store: Any = getattr(ranking.settings, "store")  # noqa: B009
        if str(store).startswith("/"):
            seen = [mount for mount in server.mounts if mount.volume["name"] == _volume(ranking.container, str(store))]
            # The config file names models by ranking's path, which must be theirs in the other container too.
            if not any(str(store).startswith(mount.path) for mount in seen):
                yield f"store {store}: expected the model server to see it under the same path"
    for container in workload.containers:
        arguments = twostage_arguments(container)
        if arguments is None or arguments[:2] != ["generations", "sync"]:
            continue
        filled = container.environment.get("TWOSTAGE_STORE", "")
        if "--store" in arguments:
            filled = arguments[arguments.index("--store") + 1]
        for process in processes_of(workload):
            store = getattr(process.settings, "store")  # noqa: B009
            if _place(process.container, str(store)) != _place(container, filled):
                yield f"store {store}: expected the folder that {container.name} fills, {filled}"


def _place(container: Container, path: str) -> tuple[str, str] | None:
    found = container.locate(path)
    return None if found is None else (str(found[0].volume["name"]), found[1])


def _volume(container: Container, path: str) -> str | None:
    found = _place(container, path)
    return None if found is None else found[0]
