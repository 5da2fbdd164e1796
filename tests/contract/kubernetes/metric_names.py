"""Which series there are: the metrics that our programs register, and those of others that we ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import grpc

from gateway.engine.ladder import Rung
from tests.contract.metrics.registered import registered_families

Labels = frozenset[str]

TARGET_LABELS = frozenset(
    {"job", "instance", "namespace", "pod", "container", "endpoint", "node", "service", "cluster"}
    | {"app_kubernetes_io_name", "app_kubernetes_io_component"}
)
"""What Prometheus adds to every series that it scrapes through our monitors."""

EXTERNAL: Mapping[str, Labels] = {
    "up": TARGET_LABELS,
    "ALERTS": TARGET_LABELS | {"alertname", "alertstate", "severity"},
    "scrape_duration_seconds": TARGET_LABELS,
    "container_cpu_usage_seconds_total": TARGET_LABELS | {"image", "cpu"},
    "container_cpu_cfs_throttled_periods_total": TARGET_LABELS,
    "container_cpu_cfs_periods_total": TARGET_LABELS,
    "container_memory_working_set_bytes": TARGET_LABELS | {"image"},
    "kube_pod_container_resource_limits": TARGET_LABELS | {"resource", "unit"},
    "kube_pod_container_resource_requests": TARGET_LABELS | {"resource", "unit"},
    "kube_pod_container_status_restarts_total": TARGET_LABELS,
    "kube_pod_status_ready": TARGET_LABELS | {"condition"},
    "kube_horizontalpodautoscaler_status_current_replicas": TARGET_LABELS | {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_spec_max_replicas": TARGET_LABELS | {"horizontalpodautoscaler"},
    "kube_deployment_status_replicas_available": TARGET_LABELS | {"deployment"},
    "kube_deployment_spec_replicas": TARGET_LABELS | {"deployment"},
    "kube_job_status_failed": TARGET_LABELS | {"job_name"},
    "kube_job_status_completion_time": TARGET_LABELS | {"job_name"},
    "kube_cronjob_status_last_successful_time": TARGET_LABELS | {"cronjob"},
}
"""Series of Prometheus itself, of the kubelet and of kube-state-metrics, by name, with the labels that we may use."""

LABEL_VALUES: Mapping[str, Labels] = {
    "rung": frozenset(rung.name for rung in Rung),
    "code": frozenset(code.name for code in grpc.StatusCode),
    # twostage_gateway_stage_seconds has the other two.
    "stage": frozenset({"retrieval", "ranking", "users", "answer"}),
}
"""Values of labels that come from a closed set, wherever they stand."""


@cache
def series() -> Mapping[str, Labels]:
    """Every series that may be asked for, with its labels."""
    found: dict[str, Labels] = dict(EXTERNAL)
    for families in registered_families().values():
        for family in families.values():
            for name, more in _series_of(family.name, family.kind):
                # Services share names; a label is there if one of them has it.
                found[name] = found.get(name, frozenset()) | TARGET_LABELS | frozenset(family.labels) | more
    return found


def _series_of(name: str, kind: str) -> Iterator[tuple[str, Labels]]:
    """The series of a family and the labels that its kind adds."""
    if kind == "histogram":
        yield f"{name}_bucket", frozenset({"le"})
    if kind == "summary":
        yield name, frozenset({"quantile"})
    if kind in ("histogram", "summary"):
        yield from ((f"{name}_{part}", frozenset()) for part in ("sum", "count"))
    else:
        # A counter's family is exposed with its suffix, however it is named where it is registered.
        suffix = "_total" if kind == "counter" and not name.startswith(":") and not name.endswith("_total") else ""
        yield name + suffix, frozenset()
