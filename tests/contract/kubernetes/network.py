"""Network policies: every flow that the configuration implies is allowed on both sides, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import command_line
from tests.contract.kubernetes.rendered import Document, Rendered, Workload, matches, subject_of
from tests.contract.kubernetes.services import selected, target_number

_DNS = {"UDP": 53, "TCP": 53}


@dataclass(frozen=True)
class Flow:
    """A connection that the configuration implies.

    Args:
        source: Who asks.
        target: Who answers.
        port: Of the target's pods.
    """

    source: Workload
    target: Workload
    port: int


def check_network(rendered: Rendered) -> Iterator[Problem]:
    """Flows that are shut, open ones that nothing needs, pods without a policy, and rules that lead nowhere."""
    implied = {(each.source.subject, each.target.subject, each.port) for each in flows(rendered)}
    for workload in rendered.workloads:
        for direction in ("Ingress", "Egress"):
            if not _policies(rendered, workload, direction):
                message = f"expected a NetworkPolicy for {direction} of its pods, found none"
                yield Problem("network", workload.subject, message)
        for protocol, port in _DNS.items():
            if not _leaves_for_dns(rendered, workload, protocol, port):
                yield Problem("network", workload.subject, f"egress: expected {protocol} {port} to the cluster's DNS")
    for source in rendered.workloads:
        for target in rendered.workloads:
            for container in target.containers:
                for each in container.ports:
                    port, protocol = int(each["containerPort"]), each.get("protocol", "TCP")
                    leaves = allows(rendered, source, target, "Egress", port, protocol)
                    enters = allows(rendered, target, source, "Ingress", port, protocol)
                    wanted = (source.subject, target.subject, port) in implied
                    yield from _compare(source, target, port, wanted=wanted, leaves=leaves, enters=enters)
    for policy in rendered.of_kind("NetworkPolicy"):
        for message in _policy(rendered, policy):
            yield Problem("network", subject_of(policy), message)


def _compare(
    source: Workload, target: Workload, port: int, *, wanted: bool, leaves: bool, enters: bool
) -> Iterator[Problem]:
    if wanted and not leaves:
        yield Problem("network", source.subject, f"egress: expected {target.subject} port {port} to be allowed")
    if wanted and not enters:
        yield Problem("network", target.subject, f"ingress: expected {source.subject} at port {port} to be allowed")
    if not wanted and leaves and enters:
        message = (
            f"ingress: expected {source.subject} at port {port} to be shut out, for nothing says that it asks there"
        )
        yield Problem("network", target.subject, message)


def flows(rendered: Rendered) -> Iterator[Flow]:
    """Every place in a pod's configuration that names a Service and a port of it."""
    ports = [
        (service, each, workload)
        for service in rendered.of_kind("Service")
        for each in service["spec"].get("ports", ())
        for workload in selected(rendered, service)
    ]
    for source in rendered.workloads:
        text = _texts(source)
        for service, each, target in ports:
            number = target_number(target, each)
            name, namespace = re.escape(service["metadata"]["name"]), re.escape(target.namespace)
            shown = {str(each["port"]), str(number)}
            domain = rf"(?:\.{namespace}(?:\.svc(?:\.cluster\.local)?)?)?"
            host = rf"(?<![\w.-])(?:{re.escape(target.name)}-\d+\.)?{name}{domain}"
            if number is not None and re.search(rf"{host}:(?:{'|'.join(shown)})(?!\d)", text):
                yield Flow(source, target, number)


def _texts(workload: Workload) -> str:
    """Everything that the pods are told: command lines, variables, files of ConfigMaps."""
    parts: list[str] = []
    for container in workload.containers:
        parts += [*command_line(container), *container.environment.values()]
        for mount in container.mounts:
            if "configMap" in mount.volume:
                parts += workload.rendered.configured_files(mount.volume["configMap"]).values()
    # Comments of YAML files name services too.
    return "\n".join(re.sub(r"(?m)^\s*#.*$", "", part) for part in parts)


def allows(
    rendered: Rendered, subject: Workload, other: Workload, direction: str, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the policies of one side let a connection pass.

    Args:
        rendered: Where the policies are.
        subject: Whose side.
        other: The other end.
        direction: ``Ingress`` or ``Egress``, seen from the subject.
        port: Of the end that listens.
        protocol: Of the connection.
    """
    policies = _policies(rendered, subject, direction)
    listener = subject if direction == "Ingress" else other
    return not policies or any(
        _takes_port(rule, listener, port, protocol) and _takes_peer(rule, policy, other, direction)
        for policy in policies
        for rule in _rules(policy, direction)
    )


def _policies(rendered: Rendered, workload: Workload, direction: str) -> list[Document]:
    return [
        policy
        for policy in rendered.of_kind("NetworkPolicy")
        if policy["metadata"].get("namespace", "default") == workload.namespace
        and direction in _types(policy)
        and matches(policy["spec"].get("podSelector", {}), workload.labels)
    ]


def _types(policy: Mapping[str, Any]) -> Sequence[str]:
    found: Sequence[str] | None = policy["spec"].get("policyTypes")
    return found or (["Ingress", "Egress"] if "egress" in policy["spec"] else ["Ingress"])


def _rules(policy: Mapping[str, Any], direction: str) -> list[Mapping[str, Any]]:
    return list(policy["spec"].get(direction.lower()) or ())


def _takes_port(rule: Mapping[str, Any], listener: Workload, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    if not ports:
        return True
    for each in ports:
        if each.get("protocol", "TCP") != protocol:
            continue
        wanted = each.get("port")
        if wanted is None or wanted == port or _named(listener, wanted) == port:
            return True
        if isinstance(wanted, int) and wanted <= port <= each.get("endPort", wanted):
            return True
    return False


def _named(workload: Workload, name: object) -> int | None:
    for container in workload.containers:
        for each in container.ports:
            if each.get("name") == name:
                return int(each["containerPort"])
    return None


def _takes_peer(rule: Mapping[str, Any], policy: Mapping[str, Any], other: Workload, direction: str) -> bool:
    peers = rule.get("from" if direction == "Ingress" else "to")
    return not peers or any(_is_peer(peer, policy, other) for peer in peers)


def _is_peer(peer: Mapping[str, Any], policy: Mapping[str, Any], other: Workload) -> bool:
    if "ipBlock" in peer:
        # Of addresses outside; those of pods are not known.
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], _namespace_labels(other)):
            return False
    elif policy["metadata"].get("namespace", "default") != other.namespace:
        return False
    return "podSelector" not in peer or matches(peer["podSelector"], other.labels)


def _namespace_labels(workload: Workload) -> dict[str, str]:
    document = workload.rendered.find("Namespace", workload.namespace) or {"metadata": {}}
    labels = (document["metadata"].get("labels") or {}).items()
    return {**dict(labels), "kubernetes.io/metadata.name": workload.namespace}


def _leaves_for_dns(rendered: Rendered, workload: Workload, protocol: str, port: int) -> bool:
    system = {"kubernetes.io/metadata.name": "kube-system"}
    for policy in _policies(rendered, workload, "Egress"):
        for rule in _rules(policy, "Egress"):
            ports = [each for each in rule.get("ports", ()) if each.get("protocol", "TCP") == protocol]
            if not any(each.get("port") == port for each in ports):
                continue
            if any(matches(peer.get("namespaceSelector"), system) for peer in rule.get("to", ())):
                return True
    return False


def _policy(rendered: Rendered, policy: Mapping[str, Any]) -> Iterator[str]:
    """Rules that take everything, peers that are nobody, ports that nobody has."""
    namespace = policy["metadata"].get("namespace", "default")
    own = [each for each in rendered.workloads if each.namespace == namespace]
    subjects = [each for each in own if matches(policy["spec"].get("podSelector", {}), each.labels)]
    if not subjects:
        yield f"podSelector {policy['spec'].get('podSelector')}: takes no pods"
    for direction, key in (("Ingress", "from"), ("Egress", "to")):
        for rule in _rules(policy, direction):
            if not rule.get(key) and not (direction == "Ingress" and _extends_the_api(rendered, subjects)):
                yield f"{direction.lower()}: expected peers, found a rule for everybody"
            if not rule.get("ports"):
                yield f"{direction.lower()}: expected ports, found a rule for all of them"
            inside = [peer for peer in rule.get(key, ()) if "podSelector" in peer and "namespaceSelector" not in peer]
            # Pods of people who call us bear this label; they are not of ours.
            foreign = [peer for peer in inside if "twostage-client" in str(peer)]
            for peer in inside:
                if peer not in foreign and not any(matches(peer["podSelector"], each.labels) for each in own):
                    yield f"{direction.lower()}: podSelector {peer['podSelector']}: takes no pods"
            if direction == "Ingress":
                listeners = subjects
            elif inside and len(inside) == len(rule.get(key, ())):
                listeners = [each for each in own if any(matches(peer["podSelector"], each.labels) for peer in inside)]
            else:
                continue
            for each in rule.get("ports", ()):
                elsewhere = each.get("port") in rendered.other_ports
                if listeners and not elsewhere and not any(_has(pod, each.get("port")) for pod in listeners):
                    yield f"{direction.lower()}: port {each.get('port')}: none of the pods listens there"


def _extends_the_api(rendered: Rendered, subjects: Sequence[Workload]) -> bool:
    """Whether these pods answer for the API server, which asks from addresses that no selector names."""
    names = {(each["spec"].get("service") or {}).get("name") for each in rendered.of_kind("APIService")}
    services = [each for each in rendered.of_kind("Service") if each["metadata"]["name"] in names]
    return bool(subjects) and all(any(pod in selected(rendered, each) for each in services) for pod in subjects)


def _has(workload: Workload, port: object) -> bool:
    return any(
        port in (each.get("name"), each["containerPort"])
        for container in workload.containers
        for each in container.ports
    )
