from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.contract.kubernetes.pod_security import check_pod_security
from tests.contract.kubernetes.rendered import Rendered

# Passes `restricted`, and says no more than that needs.
_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "pod"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "image:1",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}

# Every control of the standard: where it is broken, with which value, and a word of what is then said.
_FAULTS: tuple[tuple[str, str, object, str], ...] = (
    ("", "hostNetwork", True, "hostNetwork"),
    ("", "hostPID", True, "hostPID"),
    ("", "hostIPC", True, "hostIPC"),
    ("", "volumes", [{"name": "host", "hostPath": {"path": "/"}}], "hostPath"),
    ("", "volumes", [{"name": "share", "nfs": {"server": "a", "path": "/"}}], "nfs"),
    ("securityContext", "runAsNonRoot", False, "runAsNonRoot"),
    ("securityContext", "runAsNonRoot", None, "runAsNonRoot"),
    ("securityContext", "runAsUser", 0, "runAsUser"),
    ("securityContext", "seccompProfile", {"type": "Unconfined"}, "seccompProfile"),
    ("securityContext", "seccompProfile", None, "seccompProfile"),
    ("securityContext", "sysctls", [{"name": "kernel.msgmax", "value": "1"}], "kernel.msgmax"),
    ("securityContext", "seLinuxOptions", {"type": "spc_t"}, "spc_t"),
    ("securityContext", "seLinuxOptions", {"user": "system_u"}, "seLinuxOptions.user"),
    ("securityContext", "appArmorProfile", {"type": "Unconfined"}, "appArmorProfile"),
    ("securityContext", "windowsOptions", {"hostProcess": True}, "hostProcess"),
    ("container.securityContext", "privileged", True, "privileged"),
    ("container.securityContext", "allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
    ("container.securityContext", "allowPrivilegeEscalation", None, "allowPrivilegeEscalation"),
    ("container.securityContext", "capabilities", {}, "ALL"),
    ("container.securityContext", "capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "SYS_ADMIN"),
    ("container.securityContext", "procMount", "Unmasked", "procMount"),
    ("container.securityContext", "runAsUser", 0, "runAsUser"),
    ("container.securityContext", "runAsNonRoot", False, "runAsNonRoot"),
    ("container.securityContext", "seccompProfile", {"type": "Unconfined"}, "seccompProfile"),
    ("container", "ports", [{"containerPort": 80, "hostPort": 80}], "hostPort"),
    ("container", "livenessProbe", {"httpGet": {"port": 80, "host": "10.0.0.1"}}, "httpGet.host"),
    ("container", "lifecycle", {"postStart": {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}}, "tcpSocket.host"),
)


def _messages(pod: dict[str, Any]) -> list[str]:
    return [problem.message for problem in check_pod_security(Rendered("test", [pod]))]


def test_a_pod_that_says_what_the_standard_asks_for_passes() -> None:
    assert _messages(_POD) == []


@pytest.mark.parametrize(("place", "key", "value", "word"), _FAULTS)
def test_each_control_refuses_what_it_is_for(place: str, key: str, value: object, word: str) -> None:
    pod = copy.deepcopy(_POD)
    target = pod["spec"]
    if place.startswith("container"):
        target = target["containers"][0]
    for part in place.split("."):
        if part == "securityContext":
            target = target["securityContext"]
    if value is None:
        del target[key]
    else:
        target[key] = value

    # Of a pod and of what its container takes over from it the same may be said.
    messages = set(_messages(pod))

    assert len(messages) == 1
    assert word in messages.pop()


def test_init_containers_are_held_to_the_same() -> None:
    pod = copy.deepcopy(_POD)
    pod["spec"]["initContainers"] = [{"name": "first", "image": "image:1"}]

    assert any("allowPrivilegeEscalation" in message for message in _messages(pod))


def test_what_a_container_says_for_itself_stands_for_what_the_pod_leaves_out() -> None:
    pod = copy.deepcopy(_POD)
    whole = pod["spec"].pop("securityContext")
    pod["spec"]["containers"][0]["securityContext"].update(whole)

    assert _messages(pod) == []
