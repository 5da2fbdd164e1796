"""The documents of one combination, and the pods, containers and files that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

Document = dict[str, Any]
Labels = Mapping[str, str]

LONG_RUNNING = ("Deployment", "StatefulSet", "DaemonSet")
WORKLOADS = (*LONG_RUNNING, "Job", "CronJob", "Pod")

SECRET = "a-secret-of-thirty-two-characters"
"""Stands for what a Secret holds, which nobody renders."""

_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_FIELDS = {"status.podIP": "10.0.0.7", "status.hostIP": "10.0.1.7", "metadata.uid": "0"}


@dataclass(frozen=True)
class Mount:
    """One place where a container sees a volume.

    Args:
        path: The folder or, with a sub-path, the file.
        volume: The volume's entry in the pod.
        read_only: Whether the container may only read.
        sub_path: Of the volume; empty is its root.
    """

    path: str
    volume: Mapping[str, Any]
    read_only: bool
    sub_path: str = ""


@dataclass(frozen=True)
class Container:
    """A container of a pod.

    Args:
        workload: Whose pod.
        spec: As rendered.
        initial: Whether it stands among the init containers.
    """

    workload: Workload
    spec: Mapping[str, Any]
    initial: bool

    @property
    def name(self) -> str:
        """As in the pod."""
        return str(self.spec.get("name", ""))

    @property
    def subject(self) -> str:
        """How problems name it."""
        return f"{self.workload.subject} container {self.name}"

    @property
    def is_sidecar(self) -> bool:
        """Whether it starts before the pod's own containers and ends after them."""
        return self.initial and self.spec.get("restartPolicy") == "Always"

    @property
    def is_long_running(self) -> bool:
        """Whether it should never end by itself."""
        return self.workload.kind in LONG_RUNNING and (not self.initial or self.is_sidecar)

    @property
    def image(self) -> str:
        """Name and tag."""
        return str(self.spec.get("image", ""))

    @property
    def ports(self) -> list[Mapping[str, Any]]:
        """Declared ports."""
        return list(self.spec.get("ports", ()))

    def port_number(self, port: object) -> int | None:
        """The number of a port given by name or number; None for a name that is not declared."""
        if isinstance(port, int):
            return port
        return next((each["containerPort"] for each in self.ports if each.get("name") == port), None)

    @cached_property
    def environment(self) -> dict[str, str]:
        """Variables as the process sees them: `SECRET` for what Secrets hold, and none that cannot be resolved."""
        found: dict[str, str] = {}
        for source in self.spec.get("envFrom", ()):
            prefix = source.get("prefix", "")
            if "configMapRef" in source:
                document = self.workload.rendered.find("ConfigMap", source["configMapRef"]["name"])
                found.update({prefix + key: value for key, value in ((document or {}).get("data") or {}).items()})
        for entry in self.spec.get("env", ()):
            value = self._value(entry)
            if value is not None:
                found[entry["name"]] = _expand(value, found)
        return found

    @property
    def command(self) -> list[str] | None:
        """What replaces the image's entry point; None where nothing does."""
        words = self.spec.get("command")
        return None if words is None else [_expand(str(word), self.environment) for word in words]

    @property
    def arguments(self) -> list[str]:
        """What follows the entry point."""
        return [_expand(str(word), self.environment) for word in self.spec.get("args", ())]

    @cached_property
    def mounts(self) -> list[Mount]:
        """Where volumes are seen; those of volumes that the pod does not have are left out."""
        volumes = {volume["name"]: volume for volume in self.workload.volumes}
        return [
            Mount(
                each["mountPath"].rstrip("/") or "/",
                volumes[each["name"]],
                bool(each.get("readOnly")),
                each.get("subPath", ""),
            )
            for each in self.spec.get("volumeMounts", ())
            if each["name"] in volumes
        ]

    def locate(self, path: str) -> tuple[Mount, str] | None:
        """Finds the innermost mount that holds a path, and the path's place in the volume."""
        best = None
        for mount in self.mounts:
            holds = path == mount.path or path.startswith(mount.path.rstrip("/") + "/")
            if holds and (best is None or len(mount.path) > len(best.path)):
                best = mount
        if best is None:
            return None
        return best, f"{best.sub_path}/{path[len(best.path) :].strip('/')}".strip("/")

    def read(self, path: str) -> str | None:
        """The text of a file that comes from a ConfigMap; None where it does not."""
        place = self.locate(path)
        if place is None or "configMap" not in place[0].volume:
            return None
        return self.workload.rendered.configured_files(place[0].volume["configMap"]).get(place[1])

    def probe(self, kind: str) -> Mapping[str, Any] | None:
        """The startup, liveness or readiness probe."""
        found: Mapping[str, Any] | None = self.spec.get(f"{kind}Probe")
        return found

    @property
    def pre_stop_seconds(self) -> float | None:
        """How long the hook before SIGTERM takes; None without one, 0 where it cannot be told."""
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook is None:
            return None
        if "sleep" in hook:
            return float(hook["sleep"]["seconds"])
        words = (hook.get("exec") or {}).get("command", [])
        match = re.search(r"\bsleep (\d+(?:\.\d+)?)", " ".join(map(str, words)))
        return float(match[1]) if match else 0.0

    def _value(self, entry: Mapping[str, Any]) -> str | None:
        if "value" in entry:
            return str(entry["value"])
        source = entry.get("valueFrom") or {}
        if "secretKeyRef" in source:
            return SECRET
        if "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            document = self.workload.rendered.find("ConfigMap", reference["name"]) or {}
            value = (document.get("data") or {}).get(reference["key"])
            return None if value is None else str(value)
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            if "pod-index" in path:
                return "0"
            return _FIELDS.get(path, f"{self.workload.name}-0")
        return "1" if "resourceFieldRef" in source else ""


@dataclass(frozen=True)
class Workload:
    """What makes pods.

    Args:
        rendered: The combination it stands in.
        document: As rendered.
    """

    rendered: Rendered
    document: Document

    @property
    def kind(self) -> str:
        """E.g. ``Deployment``."""
        return str(self.document["kind"])

    @property
    def name(self) -> str:
        """As in the metadata."""
        return str(self.document["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """As in the metadata, ``default`` when unset."""
        return str(self.document["metadata"].get("namespace", "default"))

    @property
    def subject(self) -> str:
        """How problems name it."""
        return f"{self.kind}/{self.name}"

    @property
    def spec(self) -> Mapping[str, Any]:
        """Of the workload; of the job where a CronJob makes jobs."""
        spec: Mapping[str, Any] = self.document.get("spec") or {}
        return spec["jobTemplate"]["spec"] if self.kind == "CronJob" else spec

    @property
    def template(self) -> Mapping[str, Any]:
        """Of the pods: metadata and spec."""
        found: Mapping[str, Any] = self.document if self.kind == "Pod" else self.spec["template"]
        return found

    @property
    def pod(self) -> Mapping[str, Any]:
        """The pods' spec."""
        found: Mapping[str, Any] = self.template["spec"]
        return found

    @property
    def labels(self) -> Labels:
        """Of the pods."""
        found: Labels = (self.template.get("metadata") or {}).get("labels") or {}
        return found

    @property
    def volumes(self) -> list[Mapping[str, Any]]:
        """Of the pods; a StatefulSet's claims are among them."""
        claims = [
            {"name": claim["metadata"]["name"], "claimTemplate": claim}
            for claim in self.spec.get("volumeClaimTemplates", ())
        ]
        return [*self.pod.get("volumes", ()), *claims]

    @cached_property
    def containers(self) -> list[Container]:
        """All of them, the init containers first."""
        return [
            *(Container(self, spec, initial=True) for spec in self.pod.get("initContainers", ())),
            *(Container(self, spec, initial=False) for spec in self.pod.get("containers", ())),
        ]

    def container(self, name: str) -> Container | None:
        """One of the containers by its name."""
        return next((each for each in self.containers if each.name == name), None)

    @property
    def is_long_running(self) -> bool:
        """Whether its pods should never end by themselves."""
        return self.kind in LONG_RUNNING

    @property
    def may_be_several(self) -> bool:
        """Whether more than one pod may run: several replicas, or an autoscaler."""
        scaled = any(
            (each["spec"]["scaleTargetRef"]["kind"], each["spec"]["scaleTargetRef"]["name"]) == (self.kind, self.name)
            for each in self.rendered.of_kind("HorizontalPodAutoscaler")
        )
        return scaled or int(self.spec.get("replicas", 1)) > 1


@dataclass(frozen=True)
class Rendered:
    """The documents of one combination.

    Args:
        name: What was combined, e.g. ``overlays/production + tracing``.
        documents: In the renderer's order.
        given_secrets: Keys of the Secrets that whoever deploys makes, by the Secret's name.
        given_services: Ports of Services that come from elsewhere, by name.
        other_ports: Names of ports that pods have in other combinations, where this one may leave their containers out.
    """

    name: str
    documents: Sequence[Document]
    given_secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    given_services: Mapping[str, int] = field(default_factory=dict)
    other_ports: frozenset[str] = frozenset()

    def of_kind(self, *kinds: str) -> Iterator[Document]:
        """Documents of these kinds."""
        return (document for document in self.documents if document.get("kind") in kinds)

    def find(self, kind: str, name: str) -> Document | None:
        """One document."""
        return next((each for each in self.of_kind(kind) if each["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> list[Workload]:
        """What makes pods."""
        return [Workload(self, document) for document in self.of_kind(*WORKLOADS)]

    def configured_files(self, source: Mapping[str, Any]) -> dict[str, str]:
        """The files of a volume that shows a ConfigMap, by their path in the volume."""
        document = self.find("ConfigMap", source.get("name", "")) or {}
        values: dict[str, str] = {**(document.get("data") or {}), **(document.get("binaryData") or {})}
        if "items" not in source:
            return values
        return {item["path"]: values[item["key"]] for item in source["items"] if item["key"] in values}


def subject_of(document: Mapping[str, Any]) -> str:
    """How problems name a document."""
    return f"{document.get('kind')}/{(document.get('metadata') or {}).get('name')}"


def matches(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a label selector takes these labels; an empty one takes all, none takes nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(rule, labels) for rule in selector.get("matchExpressions") or ())


def parse_documents(text: str) -> list[Document]:
    """Reads the renderer's output."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def _holds(rule: Mapping[str, Any], labels: Labels) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values", ())
    operator = str(rule["operator"])
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return (value is not None) == bool(operator == "Exists")


def _expand(text: str, variables: Mapping[str, str]) -> str:
    # As Kubernetes does: a name that is not known stays as it is written.
    return _REFERENCE.sub(lambda match: variables.get(match[1], match[0]), text)
