"""What every pod of this house has: resources, an account, a disruption budget, spread, safe rollouts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.rendered import LONG_RUNNING, Container, Rendered, Workload, matches, subject_of

_UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of")


def check_house_rules(rendered: Rendered) -> Iterator[Problem]:
    """What a pod lacks."""
    for workload in rendered.workloads:
        for check, message in (*_pod(workload), *(_steady(workload) if workload.is_long_running else ())):
            yield Problem(check, workload.subject, message)
        for container in workload.containers:
            for check, message in _container(container):
                yield Problem(check, container.subject, message)
    accounts = Counter(workload.pod.get("serviceAccountName") for workload in rendered.workloads)
    for account, users in accounts.items():
        if account and users > 1:
            yield Problem("account", f"ServiceAccount/{account}", f"expected one workload to use it, found {users}")


def _pod(workload: Workload) -> Iterator[tuple[str, str]]:
    pod = workload.pod
    if pod.get("serviceAccountName") in (None, "", "default"):
        yield "account", "expected a ServiceAccount of its own, found none"
    if pod.get("automountServiceAccountToken") is not False and not _bound(workload):
        yield "account", "automountServiceAccountToken: expected false, for no role is bound to its account"
    if pod.get("enableServiceLinks") is not False:
        yield "variable", "enableServiceLinks: expected false, for its variables look like settings"
    for name in _LABELS:
        if not workload.labels.get(name):
            yield "label", f"expected the pods to carry {name}"
    if workload.labels.get(_LABELS[2]) not in (None, "twostage"):
        yield "label", f"{_LABELS[2]}: expected twostage, found {workload.labels[_LABELS[2]]}"
    if workload.kind in ("Job", "CronJob"):
        if not workload.spec.get("activeDeadlineSeconds"):
            yield "job", "activeDeadlineSeconds: expected a bound, found none"
        if workload.kind == "CronJob" and workload.document["spec"].get("concurrencyPolicy") != "Forbid":
            yield "job", "concurrencyPolicy: expected Forbid"
    selector = workload.spec.get("selector")
    if selector is not None and not matches(selector, workload.labels):
        yield "selector", "selector: expected it to take the pods of its own template"


def _steady(workload: Workload) -> Iterator[tuple[str, str]]:
    """Of pods that run until they are told to stop."""
    spec, rendered = workload.spec, workload.rendered
    budgets = [
        each
        for each in rendered.of_kind("PodDisruptionBudget")
        if each["metadata"].get("namespace", "default") == workload.namespace
        and matches(each["spec"].get("selector"), workload.labels)
    ]
    if len(budgets) != 1 and workload.kind != "DaemonSet":
        yield "disruption", f"expected one PodDisruptionBudget for its pods, found {len(budgets)}"
    for budget in budgets:
        if str(budget["spec"].get("maxUnavailable", "")) in ("0", "0%"):
            yield "disruption", f"{subject_of(budget)}: expected maxUnavailable above 0, for nodes could not be drained"
        if budget["spec"].get("minAvailable") is not None and not workload.may_be_several:
            yield "disruption", f"{subject_of(budget)}: minAvailable keeps a single pod from ever being moved"
    if workload.may_be_several:
        yield from _spread(workload)
    if workload.kind == "Deployment":
        strategy: Mapping[str, Any] = spec.get("strategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        if strategy.get("type") == "Recreate":
            if workload.may_be_several:
                yield "rollout", "strategy: expected RollingUpdate, found Recreate"
        elif str(rolling.get("maxUnavailable", "")) not in ("0", "0%"):
            yield "rollout", f"maxUnavailable: expected 0, found {rolling.get('maxUnavailable', 'none, which is 25%')}"


def _spread(workload: Workload) -> Iterator[tuple[str, str]]:
    constraints = workload.pod.get("topologySpreadConstraints", ())
    for topology in ("topology.kubernetes.io/zone", "kubernetes.io/hostname"):
        if not any(each["topologyKey"] == topology for each in constraints):
            yield "spread", f"topologySpreadConstraints: expected one for {topology}"
    for each in constraints:
        if not matches(each.get("labelSelector"), workload.labels):
            yield (
                "spread",
                f"topologySpreadConstraints: {each['topologyKey']}: expected its selector to take the pods",
            )


def _container(container: Container) -> Iterator[tuple[str, str]]:
    resources = container.spec.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for part, found in (("requests", requests), ("limits", limits)):
        for name in ("cpu", "memory"):
            if name not in found:
                yield "resources", f"{part}.{name}: expected one, found none"
    for name in set(requests) & set(limits):
        if quantity(requests[name]) > quantity(limits[name]):
            yield "resources", f"requests.{name}: expected at most the limit {limits[name]}, found {requests[name]}"
    if (container.spec.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True:
        yield "read-only root", "readOnlyRootFilesystem: expected true"
    for port, count in Counter(each.get("name") for each in container.ports).items():
        if port is None or count > 1:
            yield "port", f"expected each port under a name of its own, found {port} {count} times"


def check_scaling(rendered: Rendered) -> Iterator[Problem]:
    """Autoscalers that scale nothing, or nothing that can be measured, or that fight the manifest over replicas."""
    for kind in ("HorizontalPodAutoscaler", "VerticalPodAutoscaler"):
        for document in rendered.of_kind(kind):
            target = document["spec"].get("scaleTargetRef") or document["spec"].get("targetRef")
            subject = subject_of(document)
            workload = next(
                (each for each in rendered.workloads if (each.kind, each.name) == (target["kind"], target["name"])),
                None,
            )
            if workload is None or workload.kind not in LONG_RUNNING:
                yield Problem("scaling", subject, f"{target['kind']}/{target['name']} does not exist")
                continue
            for message in _autoscaler(document, workload):
                yield Problem("scaling", subject, message)


def _autoscaler(document: Mapping[str, Any], workload: Workload) -> Iterator[str]:
    spec = document["spec"]
    for policy in (spec.get("resourcePolicy") or {}).get("containerPolicies", ()):
        if policy["containerName"] != "*" and workload.container(policy["containerName"]) is None:
            yield f"containerPolicies: {workload.subject} has no container {policy['containerName']}"
    if document["kind"] != "HorizontalPodAutoscaler":
        if (spec.get("updatePolicy") or {}).get("updateMode") != "Off" and workload.may_be_several:
            yield "updateMode: expected Off beside a HorizontalPodAutoscaler, which the same signal would move"
        return
    if "replicas" in workload.spec:
        yield f"{workload.subject}: replicas: expected none beside an autoscaler, whose number an apply would undo"
    if spec.get("minReplicas", 1) > spec["maxReplicas"]:
        yield f"minReplicas: expected at most maxReplicas {spec['maxReplicas']}, found {spec['minReplicas']}"
    for metric in spec.get("metrics", ()):
        measured = metric.get("containerResource")
        if measured is None:
            continue
        container = workload.container(measured["container"])
        if container is None:
            yield f"metrics: {workload.subject} has no container {measured['container']}"
        elif measured["name"] not in ((container.spec.get("resources") or {}).get("requests") or {}):
            yield f"metrics: {container.subject} requests no {measured['name']}"
    down = ((spec.get("behavior") or {}).get("scaleDown") or {}).get("stabilizationWindowSeconds")
    if down is None or down < 300:
        yield f"behavior.scaleDown.stabilizationWindowSeconds: expected 300 or more, found {down}"


def quantity(text: object) -> float:
    """A quantity such as ``500m`` or ``2Gi`` as a number.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", str(text))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"quantity: expected e.g. 500m or 2Gi, received {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def _bound(workload: Workload) -> bool:
    """Whether a role is bound to the pods' account, which they then need a token for."""
    account = workload.pod.get("serviceAccountName")
    return any(
        subject.get("kind") == "ServiceAccount" and subject.get("name") == account
        for each in workload.rendered.of_kind("RoleBinding", "ClusterRoleBinding")
        for subject in each.get("subjects", ())
    )
