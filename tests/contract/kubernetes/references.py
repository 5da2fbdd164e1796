"""What documents name exists: ConfigMaps, Secrets, claims, accounts, volumes, images, and the files in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.contract.kubernetes.dockerfiles import OWN_IMAGES
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import image_name
from tests.contract.kubernetes.rendered import Container, Rendered, Workload

IMAGES = (
    *OWN_IMAGES,
    # TensorFlow Serving's own, whose version is that of the TensorFlow that models are exported with.
    "tensorflow/serving",
    "redis",
    "otel/opentelemetry-collector-contrib",
    "otel/opentelemetry-collector",
    "registry.k8s.io/prometheus-adapter/prometheus-adapter",
    "jaegertracing/jaeger",
    "prom/prometheus",
    "grafana/grafana",
)
"""Images that may run; another one is a slip of the pen until it stands here."""

READ_ONLY_VOLUMES = ("configMap", "secret", "projected", "downwardAPI")


def check_references(rendered: Rendered) -> Iterator[Problem]:
    """Names that lead nowhere."""
    for workload in rendered.workloads:
        pod = workload.pod
        account = pod.get("serviceAccountName")
        if account and rendered.find("ServiceAccount", account) is None:
            yield Problem("reference", workload.subject, f"ServiceAccount {account} does not exist")
        for volume in workload.volumes:
            for message in _volume(rendered, volume):
                yield Problem("reference", workload.subject, f"volume {volume['name']}: {message}")
        mounted = {mount["name"] for each in workload.containers for mount in each.spec.get("volumeMounts", ())}
        for volume in workload.volumes:
            if volume["name"] not in mounted:
                yield Problem("reference", workload.subject, f"volume {volume['name']}: no container mounts it")
        for container in workload.containers:
            for message in (*_image(container), *_environment(container), *_mounts(workload, container)):
                yield Problem("reference", container.subject, message)
        for name, count in Counter(each.name for each in workload.containers).items():
            if count > 1:
                yield Problem("reference", workload.subject, f"expected one container {name}, found {count}")


def _volume(rendered: Rendered, volume: Mapping[str, Any]) -> Iterator[str]:
    if "configMap" in volume:
        yield from _keys(rendered, "ConfigMap", volume["configMap"], volume["configMap"]["name"])
    if "secret" in volume:
        yield from _keys(rendered, "Secret", volume["secret"], volume["secret"]["secretName"])
    for source in (volume.get("projected") or {}).get("sources", ()):
        for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            if field in source:
                yield from _keys(rendered, kind, source[field], source[field]["name"])
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    if claim and rendered.find("PersistentVolumeClaim", claim) is None:
        yield f"PersistentVolumeClaim {claim} does not exist"


def _keys(rendered: Rendered, kind: str, source: Mapping[str, Any], name: str) -> Iterator[str]:
    known = keys_of(rendered, kind, name)
    if known is None:
        if not source.get("optional"):
            yield f"{kind} {name} does not exist"
        return
    for item in source.get("items", ()):
        if item["key"] not in known:
            yield f"{kind} {name} has no key {item['key']}"


def keys_of(rendered: Rendered, kind: str, name: str) -> set[str] | None:
    """The keys of a ConfigMap or Secret; None where there is none of that name."""
    document = rendered.find(kind, name)
    if document is not None:
        return {key for part in ("data", "stringData", "binaryData") for key in document.get(part) or {}}
    if kind == "Secret":
        if any(each["spec"]["secretName"] == name for each in rendered.of_kind("Certificate")):
            # What cert-manager writes.
            return {"tls.crt", "tls.key", "ca.crt"}
        if name in rendered.given_secrets:
            return set(rendered.given_secrets[name])
    return None


def _environment(container: Container) -> Iterator[str]:
    rendered = container.workload.rendered
    for source in container.spec.get("envFrom", ()):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                yield from _keys(rendered, kind, source[field], source[field]["name"])
    names = Counter(entry["name"] for entry in container.spec.get("env", ()))
    yield from (f"variable {name}: expected once, found {count} times" for name, count in names.items() if count > 1)
    for entry in container.spec.get("env", ()):
        source = entry.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            reference = source.get(field)
            if reference:
                wanted = {"items": [{"key": reference["key"]}], "optional": reference.get("optional")}
                yield from (
                    f"variable {entry['name']}: {message}"
                    for message in _keys(rendered, kind, wanted, reference["name"])
                )


def _image(container: Container) -> Iterator[str]:
    image = container.image
    name, tag = image_name(image), image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if not tag and "@sha256:" not in image:
        yield f"image {image}: expected a tag or a digest"
    if tag == "latest":
        yield f"image {image}: expected another tag than latest"
    if not any(name == known or name.endswith(f"/{known}") for known in IMAGES):
        yield f"image {image}: expected one of {', '.join(IMAGES)}"
    if name == "tensorflow/serving" and not re.fullmatch(r"2\.20\.0(-gpu)?", tag):
        yield f"image {image}: expected version 2.20.0, by which models are exported"


def _mounts(workload: Workload, container: Container) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in workload.volumes}
    for mount in container.spec.get("volumeMounts", ()):
        if mount["name"] not in volumes:
            yield f"mount {mount['mountPath']}: the pod has no volume {mount['name']}"
    paths = Counter(mount.path for mount in container.mounts)
    yield from (f"mount {path}: expected one volume, found {count}" for path, count in paths.items() if count > 1)
    for outer in container.mounts:
        for inner in container.mounts:
            below = inner.path.startswith(outer.path + "/")
            if below and (outer.read_only or any(kind in outer.volume for kind in READ_ONLY_VOLUMES)):
                yield f"mount {inner.path}: lies in {outer.path}, where no folder can be made for it"
    for mount in container.mounts:
        if mount.sub_path and "configMap" in mount.volume:
            files = workload.rendered.configured_files(mount.volume["configMap"])
            if mount.sub_path not in files:
                yield f"mount {mount.path}: the volume has no file {mount.sub_path}"
