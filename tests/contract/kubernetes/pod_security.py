"""The Pod Security Standard `restricted`, rule by rule.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards. Rules of `baseline` are part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.rendered import Container, Rendered, Workload

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
    # A StatefulSet's claims become persistentVolumeClaim.
    "claimTemplate",
}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP_TYPES = ("RuntimeDefault", "Localhost")


def check_pod_security(rendered: Rendered) -> Iterator[Problem]:
    """What the standard refuses."""
    for workload in rendered.workloads:
        for message in _pod(workload):
            yield Problem("pod security", workload.subject, message)
        for container in workload.containers:
            for message in _container(workload, container):
                yield Problem("pod security", container.subject, message)


def _pod(workload: Workload) -> Iterator[str]:
    pod = workload.pod
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name}: expected false"
    for volume in workload.volumes:
        for kind in sorted(set(volume) - {"name"} - _VOLUMES):
            yield f"volume {volume['name']}: {kind} is not allowed"
    security: Mapping[str, Any] = pod.get("securityContext") or {}
    yield from _common(security)
    for each in security.get("sysctls", ()):
        if each["name"] not in _SYSCTLS:
            yield f"sysctl {each['name']} is not allowed"
    annotations = (workload.template.get("metadata") or {}).get("annotations") or {}
    for key, value in annotations.items():
        of_apparmor = key.startswith("container.apparmor.security.beta.kubernetes.io/")
        if of_apparmor and value != "runtime/default" and not value.startswith("localhost/"):
            yield f"annotation {key}: expected runtime/default or localhost/…, found {value}"


def _container(workload: Workload, container: Container) -> Iterator[str]:
    of_pod: Mapping[str, Any] = workload.pod.get("securityContext") or {}
    security: Mapping[str, Any] = container.spec.get("securityContext") or {}
    yield from _common(security)
    if security.get("privileged"):
        yield "privileged: expected false"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation: expected false"
    if security.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot: expected true"
    if (security.get("seccompProfile") or of_pod.get("seccompProfile") or {}).get("type") not in _SECCOMP_TYPES:
        yield "seccompProfile: expected RuntimeDefault or Localhost"
    capabilities = security.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities: expected ALL to be dropped"
    for name in capabilities.get("add", ()):
        if name != "NET_BIND_SERVICE":
            yield f"capabilities: {name} may not be added"
    if security.get("procMount") not in (None, "", "Default"):
        yield "procMount: expected Default"
    yield from _hosts(container)


def _hosts(container: Container) -> Iterator[str]:
    """Ports of the node, and probes and hooks that reach beyond the pod."""
    for port in container.ports:
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}: expected none"
    handlers = [container.probe(kind) or {} for kind in ("startup", "liveness", "readiness")]
    handlers += [hook for hook in (container.spec.get("lifecycle") or {}).values() if isinstance(hook, dict)]
    for handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            if (handler.get(kind) or {}).get("host"):
                yield f"{kind}.host: expected none, found {handler[kind]['host']}"


def _common(security: Mapping[str, Any]) -> Iterator[str]:
    """What may be said of a pod and of a container alike."""
    if security.get("runAsNonRoot") is False:
        yield "runAsNonRoot: expected true"
    if security.get("runAsUser") == 0:
        yield "runAsUser: expected another than 0"
    if (security.get("windowsOptions") or {}).get("hostProcess"):
        yield "windowsOptions.hostProcess: expected false"
    selinux = security.get("seLinuxOptions") or {}
    if selinux.get("type") not in _SELINUX_TYPES:
        yield f"seLinuxOptions.type: {selinux['type']} is not allowed"
    for name in ("user", "role"):
        if selinux.get(name):
            yield f"seLinuxOptions.{name}: expected none"
    if (security.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield "seccompProfile: expected RuntimeDefault or Localhost"
    if (security.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "appArmorProfile: expected RuntimeDefault or Localhost"
