"""Probes and ends: what the kubelet asks is what the program answers, and nobody is killed while it drains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.settings import GatewaySettings
from tests.contract.kubernetes.model_server_flags import is_model_server, rest_path_problem
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import Process, processes_of
from tests.contract.kubernetes.programs import answers_of
from tests.contract.kubernetes.rendered import Container, Rendered, Workload, matches

RECORD_SECONDS = 30.0
"""How old an answer of a cluster's DNS may be: kubeadm's CoreDNS keeps it so long (docs/balancing.md)."""
PROBES = ("startup", "liveness", "readiness")


def check_probes(rendered: Rendered) -> Iterator[Problem]:
    """Probes that lack, that ask where nothing listens, or that ask what the program does not know."""
    for workload in rendered.workloads:
        services = {process.container.name: process for process in processes_of(workload)}
        for container in workload.containers:
            for message in _probes(container):
                yield Problem("probe", container.subject, message)
            if container.name in services:
                for message in _asked(services[container.name]):
                    yield Problem("probe", container.subject, message)


def _probes(container: Container) -> Iterator[str]:
    wanted: tuple[str, ...] = PROBES if container.is_long_running else ()
    if container.is_sidecar and not is_model_server(container):
        # What helps a pod to its files says whether it works, and never whether the pod may serve.
        wanted = ("liveness",)
    for kind in wanted:
        if container.probe(kind) is None:
            yield f"{kind}Probe: expected one, found none"
    for kind in PROBES:
        probe = container.probe(kind)
        if probe is None:
            continue
        for handler in ("grpc", "httpGet", "tcpSocket"):
            port = (probe.get(handler) or {}).get("port")
            if port is None:
                continue
            number = container.port_number(port)
            if number is None or number not in {each["containerPort"] for each in container.ports}:
                yield f"{kind}Probe: {handler} port {port}: expected a port of the container"
        if is_model_server(container) and "httpGet" in probe:
            problem = rest_path_problem(kind, str(probe["httpGet"].get("path", "/")))
            if problem:
                yield problem
    yield from _patience(container)


def _patience(container: Container) -> Iterator[str]:
    """Probes that give up on what is only slow."""
    startup, liveness = container.probe("startup"), container.probe("liveness")
    if startup and startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10) < 30:
        yield "startupProbe: expected 30 seconds or more before it gives up"
    if liveness and liveness.get("failureThreshold", 3) * liveness.get("periodSeconds", 10) < 30:
        yield "livenessProbe: expected 30 seconds or more before it restarts what is only slow"


def _asked(process: Process) -> Iterator[str]:
    settings, answers = process.settings, answers_of(process.program.module)
    for kind in PROBES:
        probe = process.container.probe(kind)
        if probe is None:
            continue
        if "grpc" in probe:
            service, port = str(probe["grpc"].get("service", "")), probe["grpc"]["port"]
            if port != settings.port or process.program.port_name != "grpc":
                yield f"{kind}Probe: grpc port: expected {settings.port}, found {port}"
            known = answers.ready_names if kind == "readiness" else answers.live_names
            if service not in known:
                yield f"{kind}Probe: grpc service: expected {_names(known)}, found {service!r}"
            if settings.tls_certificate is not None:
                yield f"{kind}Probe: expected httpGet on the metrics port, for the kubelet asks gRPC without TLS"
        elif "httpGet" in probe:
            yield from _http(kind, probe["httpGet"], process)
        else:
            yield f"{kind}Probe: expected grpc or httpGet, found {sorted(set(probe) & {'exec', 'tcpSocket'})}"


def _http(kind: str, asked: Mapping[str, Any], process: Process) -> Iterator[str]:
    settings, answers = process.settings, answers_of(process.program.module)
    port, path = process.container.port_number(asked["port"]), str(asked.get("path", "/"))
    by_port = {settings.metrics_port: answers.metrics_paths, settings.port: answers.main_paths}
    if port not in by_port:
        yield f"{kind}Probe: httpGet port: expected {' or '.join(map(str, by_port))}, found {port}"
        return
    # Before a service can serve, what asks for readiness is refused and what asks for liveness is not.
    wanted = [name for name, status in by_port[port].items() if (status == 200) == (kind != "readiness")]
    if path not in wanted:
        yield f"{kind}Probe: httpGet path: expected {' or '.join(wanted)} at port {port}, found {path}"
    encrypted = settings.tls_certificate is not None and port == settings.port
    if (asked.get("scheme", "HTTP") == "HTTPS") != encrypted:
        yield f"{kind}Probe: httpGet scheme: expected {'HTTPS' if encrypted else 'HTTP'}"


def check_ends(rendered: Rendered) -> Iterator[Problem]:
    """Pods that are killed before callers have forgotten them, or before their requests have ended."""
    for workload in rendered.workloads:
        if not workload.is_long_running:
            continue
        grace = float(workload.pod.get("terminationGracePeriodSeconds", 30))
        drains = {}
        for process in processes_of(workload):
            settings, before = process.settings, process.container.pre_stop_seconds or 0.0
            drains[process.container.name] = drain = before + settings.readiness_seconds + settings.grace_seconds
            yield from _rollout(process, before)
            # The grace is given twice: to requests, then to what is still to be written.
            needed = drain + settings.grace_seconds
            if grace < needed:
                parts = "preStop, readiness_seconds and twice grace_seconds"
                message = f"terminationGracePeriodSeconds: expected {needed:g} or more, {parts}, found {grace:g}"
                yield Problem("end", process.container.subject, message)
        for container in workload.containers:
            seconds = container.pre_stop_seconds
            if seconds is None and _is_called(workload, container):
                yield Problem("end", container.subject, "preStop: expected one, for it is called through a Service")
            if seconds is not None and seconds >= grace:
                message = f"preStop: expected less than terminationGracePeriodSeconds {grace:g}, found {seconds:g}"
                yield Problem("end", container.subject, message)
            if container.name in drains and _is_called(workload, container) and (seconds or 0) < 5:
                message = f"preStop: expected 5 seconds or more, in which endpoints are updated, found {seconds}"
                yield Problem("end", container.subject, message)
            if is_model_server(container) and (seconds or 0) < max(drains.values(), default=0):
                longest = max(drains.values(), default=0)
                message = f"preStop: expected {longest:g} or more, because SIGTERM ends it at once, found {seconds}"
                yield Problem("end", container.subject, message)


def _rollout(process: Process, before: float) -> Iterator[Problem]:
    """Whether callers know a new pod before the last old one that they know has gone."""
    workload, settings = process.container.workload, process.settings
    if workload.kind != "Deployment" or not workload.may_be_several or process.program.port_name != "grpc":
        return
    look_up = GatewaySettings.model_fields["resolve_seconds"].default
    overlap = workload.spec.get("minReadySeconds", 0) + before + settings.readiness_seconds
    if overlap < RECORD_SECONDS + look_up:
        wanted = f"{RECORD_SECONDS + look_up:g} seconds or more, what DNS and callers keep an old answer for"
        message = f"minReadySeconds, preStop and readiness_seconds: expected {wanted}, found {overlap:g}"
        yield Problem("rollout", process.container.subject, message)


def _is_called(workload: Workload, container: Container) -> bool:
    """Whether a Service leads to a port of the container."""
    names = {each.get("name") for each in container.ports} | {each["containerPort"] for each in container.ports}
    return any(
        (port.get("targetPort", port["port"])) in names
        for service in workload.rendered.of_kind("Service")
        if matches({"matchLabels": service["spec"].get("selector") or {"": ""}}, workload.labels)
        for port in service["spec"].get("ports", ())
    )


def _names(known: frozenset[str]) -> str:
    return " or ".join(sorted(repr(name) for name in known)) or "none"
