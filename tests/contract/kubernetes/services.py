"""Services and ports: what is declared is what the settings listen on, and every target leads to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.http.settings import HttpSettings
from gateway.settings import GatewaySettings
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import Process, processes
from tests.contract.kubernetes.rendered import Rendered, Workload, matches, subject_of

_EVERYWHERE = ("0.0.0.0", "::", "[::]")  # noqa: S104 - what pods listen on


def check_ports(rendered: Rendered) -> Iterator[Problem]:
    """Container ports are the ports of the settings, under the names that everything else uses."""
    for process in processes(rendered):
        settings, container = process.settings, process.container
        wanted = {process.program.port_name: settings.port, "metrics": settings.metrics_port}
        found = {str(each.get("name")): each["containerPort"] for each in container.ports}
        if found != wanted:
            yield Problem("port", container.subject, f"ports: expected {wanted} as the settings say, found {found}")
        if settings.host not in _EVERYWHERE:
            message = f"host: expected 0.0.0.0 or ::, for others could not reach it, found {settings.host}"
            yield Problem("port", container.subject, message)
        if process.program.port_name == "grpc" and settings.max_connection_age_seconds is None:
            message = "max_connection_age_seconds: expected a bound, so that clients find new pods, found none"
            yield Problem("balancing", container.subject, message)
    for workload in rendered.workloads:
        used: dict[int, str] = {}
        for container in workload.containers:
            for port in container.ports:
                other = used.setdefault(port["containerPort"], container.name)
                if other != container.name:
                    message = f"port {port['containerPort']}: expected one container to listen, found {other} too"
                    yield Problem("port", container.subject, message)


def check_services(rendered: Rendered) -> Iterator[Problem]:
    """Services that select no pods or name ports that those do not have, and selectors of others that take nothing."""
    for service in rendered.of_kind("Service"):
        subject = subject_of(service)
        pods = selected(rendered, service)
        if service["spec"].get("type") == "ExternalName":
            continue
        if not pods:
            yield Problem("selector", subject, f"selector {service['spec'].get('selector')}: takes no pods")
        for workload in pods:
            for port in service["spec"].get("ports", ()):
                if target_number(workload, port) is None:
                    wanted = port.get("targetPort", port["port"])
                    message = f"port {port.get('name')}: {workload.subject} has no port {wanted}"
                    yield Problem("port", subject, message)
    yield from _selectors(rendered)
    for workload in rendered.workloads:
        name = workload.spec.get("serviceName")
        if workload.kind == "StatefulSet":
            document = rendered.find("Service", str(name))
            if document is None or document["spec"].get("clusterIP") != "None":
                message = f"serviceName: expected a headless Service, found {name}"
                yield Problem("reference", workload.subject, message)


def _selectors(rendered: Rendered) -> Iterator[Problem]:
    for document in rendered.of_kind("PodDisruptionBudget"):
        if not any(matches(document["spec"].get("selector"), each.labels) for each in rendered.workloads):
            yield Problem("selector", subject_of(document), "selector: takes no pods")
    for document in rendered.of_kind("PodMonitor"):
        pods = [each for each in rendered.workloads if matches(document["spec"]["selector"], each.labels)]
        if not pods:
            yield Problem("selector", subject_of(document), "selector: takes no pods")
        names = {port.get("name") for each in pods for container in each.containers for port in container.ports}
        for endpoint in document["spec"]["podMetricsEndpoints"]:
            # A pod without it is not scraped there: one monitor may be of several workloads.
            if pods and endpoint["port"] not in names | rendered.other_ports:
                yield Problem("port", subject_of(document), f"port {endpoint['port']}: none of the pods has it")
    for document in rendered.of_kind("ServiceMonitor"):
        services = [
            each
            for each in rendered.of_kind("Service")
            if matches(document["spec"]["selector"], each["metadata"].get("labels") or {})
        ]
        if not services:
            yield Problem("selector", subject_of(document), "selector: takes no Services")
        for endpoint in document["spec"]["endpoints"]:
            if not any(port.get("name") == endpoint["port"] for each in services for port in each["spec"]["ports"]):
                yield Problem("port", subject_of(document), f"port {endpoint['port']}: no Service has it")


def check_targets(rendered: Rendered) -> Iterator[Problem]:
    """Where our services ask: headless Services under ``dns:///``, at ports where somebody listens."""
    for process in processes(rendered):
        for setting, target in _targets(process):
            for message in _target(rendered, target):
                yield Problem("target", process.container.subject, f"{setting} {target}: {message}")


def _targets(process: Process) -> Iterator[tuple[str, str]]:
    settings = process.settings
    if isinstance(settings, GatewaySettings):
        yield from (("retrieval", target) for target in settings.retrieval_targets)
        yield "ranking", settings.ranking
    if isinstance(settings, HttpSettings):
        yield "gateway", settings.gateway


def _target(rendered: Rendered, target: str) -> Iterator[str]:
    if not target.startswith("dns:///"):
        yield "expected dns:///name:port, so that every pod is a replica"
        return
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    # A StatefulSet's pod: its name before that of its Service.
    service, headless_name = rendered.find("Service", host.partition(".")[0]), host.partition(".")[0]
    if service is None and "." in host:
        headless_name = host.split(".")[1]
        service = rendered.find("Service", headless_name)
    if service is None:
        yield f"there is no Service {headless_name}"
        return
    spec = service["spec"]
    if spec.get("clusterIP") != "None":
        yield "expected a headless Service, for behind another one a client stays with one pod"
    if spec.get("publishNotReadyAddresses"):
        yield "publishNotReadyAddresses: expected false, for pods that are not ready would be asked"
    pods = selected(rendered, service)
    if pods and not any(
        port == str(target_number(workload, each)) for workload in pods for each in spec.get("ports", ())
    ):
        yield f"port {port}: expected one that its pods listen on, which a headless Service does not translate"


def selected(rendered: Rendered, service: Mapping[str, Any]) -> list[Workload]:
    """Whose pods a Service leads to."""
    selector = service["spec"].get("selector")
    return [each for each in rendered.workloads if selector and matches({"matchLabels": selector}, each.labels)]


def target_number(workload: Workload, port: Mapping[str, Any]) -> int | None:
    """The number that a Service's port leads to in these pods; None where they declare none."""
    target = port.get("targetPort", port["port"])
    for container in workload.containers:
        for each in container.ports:
            if target in (each.get("name"), each["containerPort"]):
                return int(each["containerPort"])
    return None
