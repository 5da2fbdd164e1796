"""The shapes of the custom resources that we use: of each kind the fields that we set, and no other.

Who defines them: https://cert-manager.io/docs/reference/api-docs, https://prometheus-operator.dev/docs/api-reference/api,
https://github.com/kubernetes/autoscaler/tree/master/vertical-pod-autoscaler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tests.contract.kubernetes.rendered import Document

Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[str, Field(pattern=r"^(\d+(h|m|s|ms))+$")]
"""As Go reads it: cert-manager's have no days."""
PrometheusDuration = Annotated[
    str, Field(pattern=r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$", min_length=1)
]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(_Strict):
    """Of any document that is written by hand."""

    name: Name
    namespace: Name | None = None
    labels: dict[Text, str] = {}
    annotations: dict[Text, str] = {}


class _Selector(_Strict):
    match_labels: dict[Text, str] = {}
    match_expressions: list[dict[str, Any]] = []


class _Resource(_Strict):
    api_version: Text
    kind: Text
    metadata: Metadata


class _IssuerReference(_Strict):
    name: Name
    kind: Literal["Issuer", "ClusterIssuer"] = "Issuer"
    group: Literal["cert-manager.io"] = "cert-manager.io"


class _PrivateKey(_Strict):
    algorithm: Literal["RSA", "ECDSA", "Ed25519"] = "RSA"
    encoding: Literal["PKCS1", "PKCS8"] = "PKCS1"
    size: Literal[256, 384, 521, 2048, 4096] | None = None
    rotation_policy: Literal["Never", "Always"] = "Never"


class _CertificateSubject(_Strict):
    organizations: list[Text] = []
    organizational_units: list[Text] = []


class _CertificateSpec(_Strict):
    secret_name: Name
    issuer_ref: _IssuerReference
    common_name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    dns_names: list[Text] = []
    ip_addresses: list[Text] = []
    uris: list[Text] = []
    duration: Duration | None = None
    renew_before: Duration | None = None
    is_ca: Annotated[bool, Field(alias="isCA")] = False
    usages: list[
        Literal["digital signature", "key encipherment", "server auth", "client auth", "cert sign", "crl sign"]
    ] = []
    private_key: _PrivateKey | None = None
    subject: _CertificateSubject | None = None
    revision_history_limit: Annotated[int, Field(ge=1)] | None = None


class _Certificate(_Resource):
    spec: _CertificateSpec


class _CertificateAuthority(_Strict):
    secret_name: Name


class _IssuerSpec(_Strict):
    self_signed: dict[str, Any] | None = None
    ca: _CertificateAuthority | None = None


class _Issuer(_Resource):
    spec: _IssuerSpec


class _Relabeling(_Strict):
    action: Literal["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep", "hashmod"] = "replace"
    source_labels: list[Text] = []
    target_label: Text | None = None
    regex: Text | None = None
    replacement: str | None = None
    separator: str | None = None


class _Endpoint(_Strict):
    port: Name
    path: Annotated[str, Field(pattern=r"^/")] = "/metrics"
    interval: PrometheusDuration | None = None
    scrape_timeout: PrometheusDuration | None = None
    scheme: Literal["http", "https"] = "http"
    relabelings: list[_Relabeling] = []
    metric_relabelings: list[_Relabeling] = []


class _NamespaceSelector(_Strict):
    match_names: list[Name] = []
    any: bool = False


class _PodMonitorSpec(_Strict):
    selector: _Selector
    pod_metrics_endpoints: Annotated[list[_Endpoint], Field(min_length=1)]
    namespace_selector: _NamespaceSelector | None = None
    pod_target_labels: list[Text] = []
    job_label: Text | None = None


class _PodMonitor(_Resource):
    spec: _PodMonitorSpec


class _ServiceMonitorSpec(_Strict):
    selector: _Selector
    endpoints: Annotated[list[_Endpoint], Field(min_length=1)]
    namespace_selector: _NamespaceSelector | None = None
    target_labels: list[Text] = []
    pod_target_labels: list[Text] = []
    job_label: Text | None = None


class _ServiceMonitor(_Resource):
    spec: _ServiceMonitorSpec


class _Rule(_Strict):
    record: Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")] | None = None
    alert: Text | None = None
    expr: Text | int
    # YAML's own word; the attribute cannot be named so.
    for_: Annotated[PrometheusDuration | None, Field(alias="for")] = None
    keep_firing_for: Annotated[PrometheusDuration | None, Field(alias="keep_firing_for")] = None
    labels: dict[Text, str] = {}
    annotations: dict[Text, str] = {}


class _Group(_Strict):
    name: Text
    interval: PrometheusDuration | None = None
    rules: Annotated[list[_Rule], Field(min_length=1)]


class _RuleSpec(_Strict):
    groups: Annotated[list[_Group], Field(min_length=1)]


class _PrometheusRule(_Resource):
    spec: _RuleSpec


class _ScaleTarget(_Strict):
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment", "StatefulSet", "DaemonSet"]
    name: Name


class _UpdatePolicy(_Strict):
    update_mode: Literal["Off", "Initial", "Recreate", "Auto", "InPlaceOrRecreate"]
    min_replicas: Annotated[int, Field(ge=1)] | None = None


class _ContainerPolicy(_Strict):
    container_name: Text
    mode: Literal["Auto", "Off"] = "Auto"
    min_allowed: dict[Literal["cpu", "memory"], str | int] = {}
    max_allowed: dict[Literal["cpu", "memory"], str | int] = {}
    controlled_resources: list[Literal["cpu", "memory"]] = []
    controlled_values: Literal["RequestsAndLimits", "RequestsOnly"] | None = None


class _ResourcePolicy(_Strict):
    container_policies: list[_ContainerPolicy] = []


class _VerticalPodAutoscalerSpec(_Strict):
    target_ref: _ScaleTarget
    update_policy: _UpdatePolicy | None = None
    resource_policy: _ResourcePolicy | None = None


class _VerticalPodAutoscaler(_Resource):
    spec: _VerticalPodAutoscalerSpec


SHAPES: MappingProxyType[tuple[str, str], type[_Resource]] = MappingProxyType(
    {
        ("cert-manager.io/v1", "Certificate"): _Certificate,
        ("cert-manager.io/v1", "Issuer"): _Issuer,
        ("cert-manager.io/v1", "ClusterIssuer"): _Issuer,
        ("monitoring.coreos.com/v1", "PodMonitor"): _PodMonitor,
        ("monitoring.coreos.com/v1", "ServiceMonitor"): _ServiceMonitor,
        ("monitoring.coreos.com/v1", "PrometheusRule"): _PrometheusRule,
        ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"): _VerticalPodAutoscaler,
    }
)


def shape_problems(document: Document) -> Iterator[str]:
    """What is wrong with a custom resource whose kind is among `SHAPES`; one message for each fault."""
    try:
        SHAPES[document["apiVersion"], document["kind"]].model_validate(document)
    except ValidationError as error:
        for detail in error.errors():
            place = ".".join(map(str, detail["loc"])) or "document"
            yield f"{place}: {detail['msg']}, received {str(detail['input'])[:100]!r}"
    else:
        yield from _more(document)


def _more(document: Document) -> Iterator[str]:
    """Rules over several fields."""
    spec = document["spec"]
    if document["kind"] == "Certificate":
        if not any(spec.get(key) for key in ("commonName", "dnsNames", "ipAddresses", "uris")):
            yield "spec: expected a name among commonName, dnsNames, ipAddresses and uris, received none"
        if "duration" in spec and "renewBefore" in spec and _seconds(spec["renewBefore"]) >= _seconds(spec["duration"]):
            yield f"spec.renewBefore: expected less than duration {spec['duration']}, received {spec['renewBefore']}"
    elif document["kind"] in ("Issuer", "ClusterIssuer") and len(spec) != 1:
        yield f"spec: expected one of selfSigned and ca, received {sorted(spec)}"
    elif document["kind"] == "PrometheusRule":
        for group in spec["groups"]:
            for rule in group["rules"]:
                if ("record" in rule) == ("alert" in rule):
                    yield f"spec.groups {group['name']}: expected record or alert in each rule, received {sorted(rule)}"


def _seconds(duration: str) -> float:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+)(ms|h|m|s)", duration))
