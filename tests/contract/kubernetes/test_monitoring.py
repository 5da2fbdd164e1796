from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.kubernetes.monitoring import check_monitoring
from tests.contract.kubernetes.mutations import broken, document, replace_text
from tests.contract.kubernetes.rendered import Rendered

_ASKED = "sum(rate(twostage_requests_total[5m]))"


def _rule(expr: str, **more: Any) -> dict[str, Any]:
    """A manifest with one rule."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "of-a-test"},
        "spec": {"groups": [{"name": "group", "rules": [{"expr": expr, **more}]}]},
    }


def _dashboard(expr: str) -> dict[str, Any]:
    """A ConfigMap with a dashboard of one query, in a row."""
    panel = {"id": 1, "title": "a row", "panels": [{"id": 2, "title": "panel", "targets": [{"expr": expr}]}]}
    content = json.dumps({"title": "board", "panels": [panel]})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "boards"}, "data": {"board.json": content}}


def _messages(*documents: dict[str, Any]) -> list[str]:
    return [problem.message for problem in check_monitoring(Rendered("test", documents))]


def test_a_rule_over_what_the_services_count_has_no_problem() -> None:
    assert _messages(_rule(_ASKED, record="twostage:asked:rate5m")) == []


def test_a_recorded_series_may_be_asked_for_with_the_labels_that_it_has() -> None:
    recorded = _rule("sum by (method) (rate(twostage_requests_total[5m]))", record="twostage:asked:rate5m")

    assert _messages(recorded, _dashboard("twostage:asked:rate5m{method='a'}")) == []
    assert "no label code" in _messages(recorded, _dashboard("twostage:asked:rate5m{code='OK'}"))[0]


@pytest.mark.parametrize("wrap", [lambda expr: _rule(expr, record="a:b"), _dashboard])
def test_an_unknown_metric_is_named_wherever_it_stands(wrap: Callable[[str], dict[str, Any]]) -> None:
    messages = _messages(wrap("rate(twostage_requsts_total[5m])"))

    assert len(messages) == 1
    assert "unknown metric twostage_requsts_total" in messages[0]


def test_a_dashboards_variable_asks_for_a_label_that_there_is() -> None:
    def variable(query: str) -> dict[str, Any]:
        listed = {"list": [{"type": "query", "name": "method", "query": query}]}
        content = json.dumps({"panels": [], "templating": listed})
        return {"kind": "ConfigMap", "metadata": {"name": "boards"}, "data": {"board.json": content}}

    assert _messages(variable("label_values(twostage_requests_total, method)")) == []
    assert "no label methd" in _messages(variable("label_values(twostage_requests_total, methd)"))[0]


def test_an_alert_leads_to_a_page_that_there_is() -> None:
    def alert(page: str) -> list[str]:
        texts = {"summary": "Slow.", "runbook_url": f"https://example.org/{page}"}
        return _messages(_rule(f"{_ASKED} > 1", alert="Slow", labels={"severity": "page"}, annotations=texts))

    assert alert("docs/degradation.md") == []
    assert "docs/gone.md" in alert("docs/gone.md")[0]
    assert "no-such-heading" in alert("docs/degradation.md#no-such-heading")[0]


def test_an_alert_without_a_summary_or_a_severity_is_named() -> None:
    messages = _messages(_rule(f"{_ASKED} > 1", alert="Slow"))

    assert [message.split(": ")[1] for message in messages] == ["summary", "runbook_url", "severity"]


def test_a_renamed_metric_turns_the_real_rules_red(everything: Rendered) -> None:
    def rename(rendered: Rendered) -> None:
        for each in rendered.of_kind("PrometheusRule"):
            for group in each["spec"]["groups"]:
                for rule in group["rules"]:
                    rule["expr"] = rule["expr"].replace("twostage_requests_total", "twostage_requests_counted_total")

    found = [problem.message for problem in check_monitoring(broken(everything, rename))]

    assert any("unknown metric twostage_requests_counted_total" in message for message in found)


def test_an_autoscaler_asks_for_a_metric_that_the_adapter_tells_of(everything: Rendered) -> None:
    def rename(rendered: Rendered) -> None:
        metrics = document(rendered, "HorizontalPodAutoscaler", "gateway")["spec"]["metrics"]
        next(each for each in metrics if each["type"] == "Pods")["pods"]["metric"]["name"] = "twostage_in_flight"

    found = list(check_monitoring(broken(everything, rename)))

    of_autoscaler = [each.message for each in found if each.subject == "HorizontalPodAutoscaler/gateway"]
    assert len(of_autoscaler) == 1
    assert "twostage_in_flight" in of_autoscaler[0]


def test_an_adapters_rule_is_over_a_series_that_there_is(everything: Rendered) -> None:
    def rename(rendered: Rendered) -> None:
        config = document(rendered, "ConfigMap", "metrics-adapter")["data"]
        replace_text(config, "config.yaml", "twostage_requests_in_flight{", "twostage_requests_inflight{")

    found = list(check_monitoring(broken(everything, rename)))

    assert any("unknown metric twostage_requests_inflight" in problem.message for problem in found)


def test_a_monitor_scrapes_the_path_that_answers(everything: Rendered) -> None:
    def move(rendered: Rendered) -> None:
        for each in document(rendered, "PodMonitor", "twostage")["spec"]["podMetricsEndpoints"]:
            each["path"] = "/prometheus"

    found = [problem.message for problem in check_monitoring(broken(everything, move))]

    assert any("expected /metrics" in message for message in found)
    assert any("/monitoring/prometheus/metrics" in message for message in found)
