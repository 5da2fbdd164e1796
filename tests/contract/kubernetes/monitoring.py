"""Rules, dashboards, monitors and autoscalers: they ask for metrics that our programs have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.contract.kubernetes.metric_names import Labels, series
from tests.contract.kubernetes.model_server_flags import flags_of, is_model_server
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import processes_of
from tests.contract.kubernetes.promql import QueryWrong, query_problems, result_labels
from tests.contract.kubernetes.rendered import Rendered, Workload, matches, subject_of
from twostage.rpc.metrics_endpoint import METRICS_PATH

_ROOT = Path(__file__).parents[3]
_ANNOTATIONS = ("summary", "runbook_url")


def check_monitoring(rendered: Rendered) -> Iterator[Problem]:
    """Queries for what nobody counts, alerts without a page, monitors of paths where nothing is, metrics for nobody."""
    known = {**series(), **_recorded(rendered)}
    for document in rendered.of_kind("PrometheusRule"):
        for message in _rules(document, known):
            yield Problem("metric", subject_of(document), message)
    for document in rendered.of_kind("ConfigMap"):
        for name, text in (document.get("data") or {}).items():
            for message in (*_dashboard(name, text, known), *_adapter(text, known)):
                yield Problem("metric", f"{subject_of(document)} {name}", message)
    yield from _monitors(rendered)
    yield from _autoscalers(rendered, known)


def _recorded(rendered: Rendered) -> dict[str, Labels]:
    """The series of recording rules, with the labels that their queries leave."""
    found: dict[str, Labels] = {}
    for document in rendered.of_kind("PrometheusRule"):
        for group in document["spec"]["groups"]:
            for rule in group["rules"]:
                if "record" not in rule:
                    continue
                try:
                    labels = result_labels(str(rule["expr"]), {**series(), **found})
                except QueryWrong:
                    labels = frozenset()
                more = frozenset(rule.get("labels") or ())
                found[rule["record"]] = (labels or frozenset()) | more | found.get(rule["record"], frozenset())
    return found


def _rules(document: Mapping[str, Any], known: Mapping[str, Labels]) -> Iterator[str]:
    for group in document["spec"]["groups"]:
        for rule in group["rules"]:
            name = rule.get("record") or rule.get("alert")
            yield from (f"{name}: {message}" for message in query_problems(str(rule["expr"]), known))
            if "alert" not in rule:
                continue
            annotations = rule.get("annotations") or {}
            yield from (
                f"{name}: {each}: expected one, found none" for each in _ANNOTATIONS if not annotations.get(each)
            )
            page = annotations.get("runbook_url")
            if page and not _has_page(page):
                yield f"{name}: runbook_url: expected a page of docs/ and a heading in it, found {page}"
            if (rule.get("labels") or {}).get("severity") not in ("page", "ticket", "critical", "warning", "info"):
                yield f"{name}: severity: expected page or ticket, found {(rule.get('labels') or {}).get('severity')}"


def _has_page(url: str) -> bool:
    """Whether a page of the documentation exists, and has the heading that the address names."""
    match = re.search(r"(docs/[\w./-]+\.md)(?:#([\w-]+))?$", url)
    if match is None or not (_ROOT / match[1]).is_file():
        return False
    text = (_ROOT / match[1]).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    return match[2] is None or match[2] in headings


def _dashboard(name: str, text: str, known: Mapping[str, Labels]) -> Iterator[str]:
    if not name.endswith(".json"):
        return
    try:
        content = json.loads(text)
    except ValueError as error:
        yield f"expected JSON: {error}"
        return
    if "panels" not in content:
        return
    for place, query in _queries(content):
        yield from (f"{place}: {message}" for message in _dashboard_query(query, known))
    identities = [panel["id"] for panel in _panels(content) if "id" in panel]
    if len(set(identities)) != len(identities):
        yield "panels: expected each id once"


def _panels(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for panel in content.get("panels", ()):
        yield panel
        yield from _panels(panel)


def _queries(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard, and where it stands."""
    for panel in _panels(content):
        for target in panel.get("targets", ()):
            if "expr" in target:
                yield f"panel {panel.get('title')!r}", target["expr"]
    for each in (content.get("templating") or {}).get("list", ()):
        if each.get("type") == "query":
            query = each.get("query")
            yield f"variable {each.get('name')}", query.get("query", "") if isinstance(query, dict) else str(query)
    for each in (content.get("annotations") or {}).get("list", ()):
        if "expr" in each:
            yield f"annotation {each.get('name')}", each["expr"]


def _dashboard_query(query: str, known: Mapping[str, Labels]) -> Iterator[str]:
    # Grafana's functions over Prometheus; see its documentation of query variables.
    match = re.fullmatch(r"\s*label_values\((?:(.+),)?\s*(\w+)\s*\)\s*", query, re.DOTALL)
    if match is not None:
        if match[1] is None:
            return
        yield from query_problems(match[1], known)
        metric = re.match(r"[\w:]+", match[1].strip())
        if metric and metric[0] in known and match[2] not in known[metric[0]]:
            yield f"metric {metric[0]} has no label {match[2]}"
        return
    match = re.fullmatch(r"\s*query_result\((.*)\)\s*", query, re.DOTALL)
    yield from query_problems(match[1] if match is not None else query, known)


def _adapter(text: str, known: Mapping[str, Labels]) -> Iterator[str]:
    """The configuration of prometheus-adapter: rules with a series and a query over it."""
    for rule in _adapter_rules(text):
        yield from query_problems(rule["seriesQuery"], known)
        name = _adapter_name(rule, rule["seriesQuery"].partition("{")[0])
        yield from (f"resources: no label {each}" for each in _resources(rule) - known.get(_series(rule), frozenset()))
        query = rule.get("metricsQuery", "<<.Series>>")
        for placeholder, value in (("Series", _series(rule)), ("LabelMatchers", 'namespace="a"'), ("GroupBy", "pod")):
            query = query.replace(f"<<.{placeholder}>>", value)
        yield from (f"{name}: {message}" for message in query_problems(query, known))


def _adapter_rules(text: str) -> list[Mapping[str, Any]]:
    if "seriesQuery" not in text:
        return []
    return list((yaml.safe_load(text) or {}).get("rules", ()))


def _series(rule: Mapping[str, Any]) -> str:
    return str(rule["seriesQuery"]).partition("{")[0]


def _resources(rule: Mapping[str, Any]) -> set[str]:
    return set((rule.get("resources") or {}).get("overrides") or ())


def _adapter_name(rule: Mapping[str, Any], name: str) -> str:
    """The metric's name as autoscalers ask for it."""
    naming = rule.get("name") or {}
    if "as" not in naming:
        return name
    pattern = naming.get("matches") or ".*"
    return re.sub(f"^{pattern}$", re.sub(r"\$\{?(\d)\}?", r"\\\1", naming["as"]), name)


def _monitors(rendered: Rendered) -> Iterator[Problem]:
    for document in rendered.of_kind("PodMonitor"):
        for endpoint in document["spec"]["podMetricsEndpoints"]:
            for workload in rendered.workloads:
                if matches(document["spec"]["selector"], workload.labels):
                    for message in _scrape(workload, endpoint):
                        yield Problem("metric", subject_of(document), message)


def _scrape(workload: Workload, endpoint: Mapping[str, Any]) -> Iterator[str]:
    path = endpoint.get("path", METRICS_PATH)
    for container in workload.containers:
        number = container.port_number(endpoint["port"])
        if number is None:
            continue
        if is_model_server(container):
            config = container.read(flags_of(container).get("monitoring_config_file", "")) or ""
            stated = re.search(r'path\s*:\s*"([^"]+)"', config)
            if stated is None or stated[1] != path or not re.search(r"enable\s*:\s*true", config):
                yield f"path {path}: expected what {container.subject} was told, {stated[1] if stated else 'nothing'}"
        elif path != METRICS_PATH and any(each.container is container for each in processes_of(workload)):
            yield f"path {path}: expected {METRICS_PATH} of {container.subject}"


def _autoscalers(rendered: Rendered, known: Mapping[str, Labels]) -> Iterator[Problem]:
    """Metrics that autoscalers ask for: series of ours, and an adapter that tells of them where one is rendered."""
    texts = [text for each in rendered.of_kind("ConfigMap") for text in (each.get("data") or {}).values()]
    told = {_adapter_name(rule, _series(rule)) for text in texts for rule in _adapter_rules(text)}
    for document in rendered.of_kind("HorizontalPodAutoscaler"):
        for metric in document["spec"].get("metrics", ()):
            kind = {"Pods": "pods", "Object": "object", "External": "external"}.get(metric["type"])
            if kind is None:
                continue
            name = metric[kind]["metric"]["name"]
            if name not in (told or known):
                message = f"metric {name}: expected one of {', '.join(sorted(told)) or 'those that are registered'}"
                yield Problem("metric", subject_of(document), message)
