"""One fault in the real manifests is named by the check that is for it.

Every case breaks one thing in a copy; the manifests as they are have no problem (test_manifests.py), so that what is
found comes from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.kubernetes.checks import find_problems
from tests.contract.kubernetes.mutations import Break, broken, container, document, pod, replace_text, workload
from tests.contract.kubernetes.rendered import Rendered
from tests.contract.kubernetes.schemas import Schemas


def _set(find: Callable[[Rendered], dict[str, Any]], key: str, value: object) -> Break:
    return lambda rendered: find(rendered).__setitem__(key, value)


def _drop(find: Callable[[Rendered], dict[str, Any]], key: str) -> Break:
    return lambda rendered: find(rendered).__delitem__(key)


def _config(service: str, old: str, new: str) -> Break:
    return lambda r: replace_text(document(r, "ConfigMap", service)["data"], f"{service}.yaml", old, new)


def _argument(old: str, new: str) -> Break:
    def change(rendered: Rendered) -> None:
        spec = container(rendered, "model-server", "ranking")
        assert any(old in word for word in spec["args"]), spec["args"]
        spec["args"] = [word.replace(old, new) for word in spec["args"]]

    return change


def _remove(kind: str, name: str) -> Break:
    def change(rendered: Rendered) -> None:
        found = document(rendered, kind, name)
        rendered.documents.remove(found)  # type: ignore[attr-defined]

    return change


def _variable(name: str, value: str, of: str = "gateway") -> Break:
    return lambda r: container(r, of).setdefault("env", []).append({"name": name, "value": value})


def _port(service: str, name: str, number: int) -> Break:
    def change(rendered: Rendered) -> None:
        for each in container(rendered, service)["ports"]:
            if each["name"] == name:
                each["containerPort"] = number
                return
        raise LookupError(f"port {name}")

    return change


def _without(kind: str, name: str, keep: Callable[[dict[str, Any]], bool]) -> Break:
    def change(rendered: Rendered) -> None:
        rules = document(rendered, kind, name)["spec"]["ingress"]
        rules[:] = [rule for rule in rules if keep(rule)]

    return change


def _gateway(rendered: Rendered) -> dict[str, Any]:
    return container(rendered, "gateway")


def _server(rendered: Rendered) -> dict[str, Any]:
    return container(rendered, "model-server", "ranking")


FAULTS: dict[str, tuple[Break, str, str]] = {
    # What is broken: how, the check that names it, and a word of what it says.
    "an unknown field": (_set(_gateway, "livnessProbe", {}), "schema", "livnessProbe"),
    "a port that is text": (_set(lambda r: _gateway(r)["ports"][0], "containerPort", "50050"), "schema", "50050"),
    "an unknown kind": (_set(lambda r: document(r, "Service", "gateway"), "kind", "Serivce"), "schema", "Serivce"),
    "a wrong port": (_port("gateway", "grpc", 50059), "port", "50050"),
    "a wrong metrics port": (_port("ranking", "metrics", 9109), "port", "9102"),
    "a wrong port in the settings": (_config("retrieval", "port: 50051", "port: 50061"), "port", "50061"),
    "a Service's wrong port": (
        _set(lambda r: document(r, "Service", "gateway")["spec"]["ports"][0], "targetPort", "grcp"),
        "port",
        "grcp",
    ),
    "no liveness probe": (_drop(_gateway, "livenessProbe"), "probe", "livenessProbe"),
    "no readiness probe": (_drop(lambda r: container(r, "http"), "readinessProbe"), "probe", "readinessProbe"),
    "no startup probe": (_drop(lambda r: container(r, "retrieval"), "startupProbe"), "probe", "startupProbe"),
    "a probe of the wrong port": (
        _set(lambda r: _gateway(r)["readinessProbe"]["grpc"], "port", 50051),
        "probe",
        "50050",
    ),
    "a probe of an unknown service": (
        _set(lambda r: _gateway(r)["readinessProbe"]["grpc"], "service", "twostage.v1.Gateway"),
        "probe",
        "Recommendation",
    ),
    "liveness that asks for readiness": (
        _set(lambda r: _gateway(r)["livenessProbe"]["grpc"], "service", ""),
        "probe",
        "liveness",
    ),
    "a probe of an unknown path": (
        _set(lambda r: container(r, "http")["readinessProbe"]["httpGet"], "path", "/ready"),
        "probe",
        "/readyz",
    ),
    "the model's page as readiness": (
        _set(lambda r: _server(r)["readinessProbe"]["httpGet"], "path", "/v1/models/default"),
        "probe",
        "metadata",
    ),
    "an unknown variable": (_variable("TWOSTAGE_GATEWAY_CANDIDATES", "5"), "variable", "TWOSTAGE_GATEWAY_CANDIDATES"),
    "another service's variable": (_variable("TWOSTAGE_RANKING_PORT", "1"), "variable", "TWOSTAGE_RANKING_PORT"),
    "a variable's wrong value": (_variable("TWOSTAGE_GATEWAY_CANDIDATE_COUNT", "many"), "settings", "CANDIDATE_COUNT"),
    "an unknown key of the settings": (_config("gateway", "retrieval:", "retreival:"), "settings", "retreival"),
    "a wrong value of the settings": (_config("ranking", "grace_seconds: 5", "grace_seconds: -5"), "settings", "grace"),
    "listening on the loopback": (_config("gateway", "host: 0.0.0.0", "host: 127.0.0.1"), "port", "127.0.0.1"),
    "no bounded connection age": (
        _config("retrieval", "max_connection_age_seconds", "# max_connection_age_seconds"),
        "balancing",
        "max_connection",
    ),
    "an unknown flag of a service": (_set(_gateway, "args", ["--retreival", "x"]), "settings", "--retreival"),
    "an unknown module": (_set(_gateway, "command", ["python", "-m", "gatway"]), "command", "gatway"),
    "a shell before the service": (_set(_gateway, "command", ["sh", "-c", "python -m gateway"]), "command", "shell"),
    "an unknown command": (
        _set(lambda r: container(r, "bundle-sync", "gateway"), "command", ["twostage", "generations", "snyc"]),
        "command",
        "snyc",
    ),
    "an unknown option of a command": (
        lambda r: container(r, "bundle-sync", "gateway")["args"].append("--folow"),
        "command",
        "--folow",
    ),
    "a wrong value of an option": (
        _set(lambda r: container(r, "bundle-sync", "gateway"), "args", ["--for", "gatway"]),
        "command",
        "gatway",
    ),
    "an unknown flag of TensorFlow Serving": (
        _argument("--grpc_max_threads", "--grpc_threads"),
        "model server",
        "grpc_threads",
    ),
    "too few threads of TensorFlow Serving": (
        lambda r: _server(r)["args"].append("--grpc_max_threads=8"),
        "model server",
        "model_server_max_in_flight",
    ),
    "TensorFlow Serving's wrong port": (
        _argument("--rest_api_port=8501", "--rest_api_port=8502"),
        "model server",
        "8502",
    ),
    "TensorFlow Serving's profiler": (
        _argument("--enable_profiler=false", "--enable_profiler=true"),
        "model server",
        "profiler",
    ),
    "endless load retries": (
        _argument("--max_num_load_retries=0", "--max_num_load_retries=5"),
        "model server",
        "retries",
    ),
    "TensorFlow Serving behind a shell": (
        _set(_server, "command", ["/usr/bin/tf_serving_entrypoint.sh"]),
        "model server",
        "signals",
    ),
    "another socket": (_argument("model-server.sock", "server.sock"), "model server", "grpc_socket_path"),
    "another version of TensorFlow Serving": (
        _set(_server, "image", "tensorflow/serving:2.19.0"),
        "reference",
        "2.20.0",
    ),
    "another config file": (_argument("models.config", "model.config"), "file", "models.config"),
    "a path on no volume": (_config("gateway", "store: /var/lib", "store: /srv"), "file", "/srv"),
    "a file that the ConfigMap lacks": (
        _variable("TWOSTAGE_GATEWAY_CLIENTS", "/etc/twostage/clients.yml"),
        "file",
        "clients.yml",
    ),
    "a written path on a read-only volume": (
        _variable("TWOSTAGE_GATEWAY_IMPRESSIONS", "/etc/twostage/impressions"),
        "file",
        "can be written",
    ),
    "settings that are not mounted": (
        _set(lambda r: _gateway(r)["volumeMounts"][0], "mountPath", "/etc/twostages"),
        "settings",
        "/etc/twostage",
    ),
    "two volumes at one place": (
        lambda r: _gateway(r)["volumeMounts"].append({"name": "tmp", "mountPath": "/etc/twostage/"}),
        "reference",
        "found 2",
    ),
    "a volume that the pod lacks": (
        lambda r: _gateway(r)["volumeMounts"].append({"name": "cache", "mountPath": "/cache"}),
        "reference",
        "cache",
    ),
    "a ConfigMap that does not exist": (
        lambda r: [
            each.update(configMap={"name": "gone"}) for each in pod(r, "gateway")["volumes"] if "configMap" in each
        ],
        "reference",
        "gone",
    ),
    "a Secret that does not exist": (
        lambda r: _gateway(r)["env"].append(
            {"name": "TWOSTAGE_GATEWAY_IMPRESSIONS_KEY", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "k"}}}
        ),
        "reference",
        "nobody",
    ),
    "an account that does not exist": (
        _set(lambda r: pod(r, "gateway"), "serviceAccountName", "gatewy"),
        "reference",
        "gatewy",
    ),
    "another's account": (_set(lambda r: pod(r, "gateway"), "serviceAccountName", "ranking"), "account", "found 2"),
    "the latest image": (_set(_gateway, "image", "twostage/gateway:latest"), "reference", "latest"),
    "an image without a tag": (_set(_gateway, "image", "twostage/gateway"), "reference", "tag"),
    "an unknown image": (_set(_gateway, "image", "twostage/gatway:0.1.0"), "reference", "gatway"),
    "running as root": (
        _set(lambda r: pod(r, "gateway")["securityContext"], "runAsUser", 0),
        "pod security",
        "runAsUser",
    ),
    "a capability": (
        _set(lambda r: _gateway(r)["securityContext"], "capabilities", {"add": ["NET_ADMIN"]}),
        "pod security",
        "NET_ADMIN",
    ),
    "a writable root": (
        _drop(lambda r: _gateway(r)["securityContext"], "readOnlyRootFilesystem"),
        "read-only root",
        "readOnlyRoot",
    ),
    "no limits": (_drop(lambda r: _gateway(r)["resources"], "limits"), "resources", "limits.memory"),
    "requests above limits": (
        _set(lambda r: _gateway(r)["resources"], "requests", {"cpu": "100", "memory": "1Gi"}),
        "resources",
        "requests.cpu",
    ),
    "service links": (_drop(lambda r: pod(r, "gateway"), "enableServiceLinks"), "variable", "enableServiceLinks"),
    "no disruption budget": (_remove("PodDisruptionBudget", "gateway"), "disruption", "found 0"),
    "a budget that lets nobody go": (
        _set(lambda r: document(r, "PodDisruptionBudget", "gateway")["spec"], "maxUnavailable", 0),
        "disruption",
        "drained",
    ),
    "no spread": (_drop(lambda r: pod(r, "gateway"), "topologySpreadConstraints"), "spread", "hostname"),
    "an outage in every rollout": (
        _set(lambda r: document(r, "Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"], "maxUnavailable", 1),
        "rollout",
        "maxUnavailable",
    ),
    "no preStop": (_drop(_gateway, "lifecycle"), "end", "preStop"),
    "a kill during the drain": (
        _set(lambda r: pod(r, "gateway"), "terminationGracePeriodSeconds", 20),
        "end",
        "terminationGracePeriodSeconds",
    ),
    "a longer grace than the pod's": (
        _config("gateway", "grace_seconds: ", "grace_seconds: 6"),
        "end",
        "terminationGrace",
    ),
    "a model server that ends first": (_drop(_server, "lifecycle"), "end", "SIGTERM"),
    "a Service that is not headless": (
        lambda r: document(r, "Service", "retrieval")["spec"].pop("clusterIP"),
        "target",
        "headless",
    ),
    "pods asked before they are ready": (
        _set(lambda r: document(r, "Service", "retrieval")["spec"], "publishNotReadyAddresses", True),
        "target",
        "NotReady",
    ),
    "a target that does not exist": (_config("gateway", "dns:///ranking", "dns:///rankings"), "target", "rankings"),
    "a target's wrong port": (_config("gateway", "dns:///ranking:50052", "dns:///ranking:50051"), "target", "50051"),
    "a target that balances nothing": (_config("gateway", "dns:///ranking", "ranking"), "target", "dns:///"),
    "a Service that selects nothing": (
        _set(lambda r: document(r, "Service", "http")["spec"], "selector", {"app": "http"}),
        "selector",
        "takes no pods",
    ),
    "a budget that selects nothing": (
        _set(lambda r: document(r, "PodDisruptionBudget", "http")["spec"], "selector", {"matchLabels": {"app": "x"}}),
        "selector",
        "takes no pods",
    ),
    "an autoscaler of nothing": (
        _set(lambda r: document(r, "HorizontalPodAutoscaler", "http")["spec"]["scaleTargetRef"], "name", "https"),
        "scaling",
        "https",
    ),
    "an autoscaler beside replicas": (
        _set(lambda r: document(r, "Deployment", "http")["spec"], "replicas", 3),
        "scaling",
        "replicas",
    ),
    "no policy of ranking": (_remove("NetworkPolicy", "ranking"), "network", "port 50052"),
    "no policy for names": (_remove("NetworkPolicy", "dns"), "network", "DNS"),
    "a policy's wrong port": (
        _set(lambda r: document(r, "NetworkPolicy", "retrieval")["spec"]["ingress"][0]["ports"][0], "port", 50052),
        "network",
        "50051",
    ),
    "a policy that selects nothing": (
        _set(lambda r: document(r, "NetworkPolicy", "retrieval")["spec"], "podSelector", {"matchLabels": {"app": "x"}}),
        "network",
        "takes no pods",
    ),
    "a policy that lets everybody in": (
        lambda r: document(r, "NetworkPolicy", "retrieval")["spec"]["ingress"].append({}),
        "network",
        "everybody",
    ),
    "a flow that nobody needs": (
        lambda r: (
            document(r, "NetworkPolicy", "retrieval")["spec"]["ingress"].append(_open("ingress", "http", 50051)),
            document(r, "NetworkPolicy", "http")["spec"]["egress"].append(_open("egress", "retrieval", 50051)),
        ),
        "network",
        "shut out",
    ),
    "labels that a selector no longer takes": (
        lambda r: workload(r, "gateway").template["metadata"]["labels"].update({"app.kubernetes.io/name": "gw"}),
        "selector",
        "own template",
    ),
}


def _open(direction: str, name: str, port: int) -> dict[str, object]:
    peer = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}
    return {"from" if direction == "ingress" else "to": [peer], "ports": [{"protocol": "TCP", "port": port}]}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str, plain: Rendered, schemas: Schemas) -> None:
    breaks, check, word = FAULTS[fault]

    found = find_problems(broken(plain, breaks), schemas)

    assert [problem for problem in found if problem.check == check and word in problem.message], found
