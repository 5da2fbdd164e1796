"""Writes Grafana's dashboards: ``python k8s/components/monitoring/dashboards/build.py [--check]``.

A dashboard is JSON of some hundred lines of which a dozen say something; those stand here. Grafana's own builder
library is numbered so that no range of versions can be pinned, which is why this writes the JSON itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Grafana's grid has 24 columns.
WIDTH, HEIGHT = 8, 8
RECOMMEND = 'namespace="$namespace", method="twostage.v1.RecommendationService/Recommend"'
HERE_ONLY = 'namespace="$namespace"'
EVERY = "$__rate_interval"
MODEL_LATENCY = ":tensorflow:serving:request_latency"
CERTIFICATE_EXPIRY = "twostage_tls_certificate_expiry_timestamp_seconds"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        title: What is seen.
        queries: PromQL and legend.
        unit: Grafana's name of the unit.
        description: What it means, or what to look for.
        kind: Grafana's name of the panel.
        stacked: Whether series are stacked.
        exemplars: Whether exemplars, which open a trace, are shown.
        most: The largest value of the axis, where there is one.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    description: str = ""
    kind: str = "timeseries"
    stacked: bool = False
    exemplars: bool = False
    most: float | None = None


def rate(series: str, by: str = "", **labels: str) -> str:
    """How fast a counter grows, summed by labels."""
    told = ", ".join([HERE_ONLY, *(f'{name}="{value}"' for name, value in labels.items())])
    return f"sum{f' by ({by})' if by else ''} (rate({series}{{{told}}}[{EVERY}]))"


def quantiles(histogram: str, by: str = "", labels: str = HERE_ONLY, shares: Sequence[float] = (0.5, 0.9, 0.99)) -> Any:
    """Percentiles of a histogram."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
    groups = ", ".join(filter(None, ["le", by]))
    return [
        (
            f"histogram_quantile({share}, sum by ({groups}) (rate({histogram}_bucket{{{labels}}}[{EVERY}])))",
            f"{legend} p{share * 100:g}".strip(),
        )
        for share in shares
    ]


def burn(record: str, budget: float) -> list[tuple[str, str]]:
    """How fast an objective's budget is spent, 1 is the pace that just lasts."""
    return [
        (f"twostage:{record}:ratio_rate{window}{{{HERE_ONLY}}} / {budget}", window) for window in ("5m", "1h", "6h")
    ]


OVERVIEW = [
    Panel(
        "Answered on FULL or FEWER_CANDIDATES",
        [(f"1 - twostage:recommend_unavailable:ratio_rate1h{{{HERE_ONLY}}}", "last hour")],
        "percentunit",
        "The objective is 99.9 % over 30 days.",
        kind="stat",
    ),
    Panel(
        "Answered within 100 ms",
        [(f"1 - twostage:recommend_slow:ratio_rate1h{{{HERE_ONLY}}}", "last hour")],
        "percentunit",
        "The objective is 99 % over 30 days.",
        kind="stat",
    ),
    Panel(
        "Active generations",
        [
            (f'min(twostage_generation{{{HERE_ONLY}, state="active"}})', "oldest"),
            (f'max(twostage_generation{{{HERE_ONLY}, state="active"}})', "newest"),
        ],
        "none",
        "Two numbers for longer than a swap: a service refused a generation or cannot read the store.",
        kind="stat",
    ),
    Panel(
        "Recommend, a second, by code", [(rate("twostage_requests_total", "code"), "{{code}}")], "reqps", stacked=True
    ),
    Panel(
        "Answers by rung",
        [(rate("twostage_gateway_recommendations_total", "rung"), "{{rung}}")],
        "reqps",
        "Everything below FULL is degradation; docs/degradation.md.",
        stacked=True,
    ),
    Panel(
        "Recommend, seconds",
        quantiles("twostage_request_seconds", labels=f'{RECOMMEND}, outcome="ok"'),
        "s",
        "Exemplars open a trace.",
        exemplars=True,
    ),
    Panel("Budget spent: availability", burn("recommend_unavailable", 0.001), "none", "1 is the pace that just lasts."),
    Panel("Budget spent: latency", burn("recommend_slow", 0.01), "none", "1 is the pace that just lasts."),
    Panel(
        "Refused for want of room, by reason",
        [(rate("twostage_gateway_refused_total", "reason"), "{{reason}}")],
        "reqps",
        "docs/admission.md",
        stacked=True,
    ),
    Panel(
        "Admission: limit, work, waiting",
        [
            (f"sum(twostage_gateway_admission_limit{{{HERE_ONLY}}})", "limit"),
            (f"sum(twostage_gateway_admission_in_flight{{{HERE_ONLY}}})", "worked on"),
            (f"sum(twostage_gateway_admission_waiting{{{HERE_ONLY}}})", "waiting"),
        ],
    ),
    Panel("Seconds in the waiting room", quantiles("twostage_gateway_queue_seconds"), "s"),
    Panel(
        "Answers with fewer items than asked for",
        [(rate("twostage_gateway_shortfalls_total", "reason"), "{{reason}}")],
        "reqps",
        "By the reason that the answer names.",
        stacked=True,
    ),
    Panel(
        "Answers by generation",
        [(rate("twostage_gateway_generation_recommendations_total", "generation"), "{{generation}}")],
        "reqps",
        stacked=True,
    ),
    Panel(
        "Answers by arm",
        [(rate("twostage_gateway_arm_recommendations_total", "experiment, arm"), "{{experiment}} {{arm}}")],
        "reqps",
    ),
    Panel(
        "Recommended items by source",
        [(rate("twostage_gateway_shown_items_total", "source"), "{{source}}")],
        "ops",
        stacked=True,
    ),
]

STAGES = [
    Panel(
        "Where Recommend's time goes, p99",
        quantiles("twostage_gateway_stage_seconds", "stage, part", shares=(0.99,)),
        "s",
        "compute as the stage states it, transport the rest of the wait.",
        exemplars=True,
    ),
    Panel(
        "Where Recommend's time goes, median",
        quantiles("twostage_gateway_stage_seconds", "stage, part", shares=(0.5,)),
        "s",
    ),
    Panel(
        "Stages that did not answer",
        [(rate("twostage_gateway_stage_failures_total", "stage, kind"), "{{stage}} {{kind}}")],
        "ops",
        stacked=True,
    ),
    Panel(
        "Circuits that are open",
        [(f"max by (stage) (twostage_gateway_circuit_open{{{HERE_ONLY}}})", "{{stage}}")],
        "bool",
        "A stage that is not asked because it fails.",
    ),
    Panel(
        "Replicas put aside",
        [(f"sum by (stage) (twostage_gateway_replicas_aside{{{HERE_ONLY}}})", "{{stage}}")],
    ),
    Panel(
        "Second attempts",
        [
            (rate("twostage_gateway_hedges_total", "stage, outcome"), "{{stage}} hedge {{outcome}}"),
            (rate("twostage_gateway_retries_total", "stage, outcome"), "{{stage}} retry {{outcome}}"),
        ],
        "ops",
    ),
    Panel("Retrieval, p99 by step", quantiles("twostage_retrieval_step_seconds", "step", shares=(0.99,)), "s"),
    Panel(
        "Searches by how they were done",
        [(rate("twostage_retrieval_searches_total", "way"), "{{way}}")],
        "ops",
        "scan and exhaustive read every allowed row.",
        stacked=True,
    ),
    Panel(
        "Filters remembered",
        [(rate("twostage_retrieval_filters_total", "outcome"), "{{outcome}}")],
        "ops",
        stacked=True,
    ),
    Panel(
        "Ranking, p99 by step",
        quantiles("twostage_ranking_step_seconds", "step", shares=(0.99,)),
        "s",
        exemplars=True,
    ),
    Panel(
        "Calls to model servers",
        [
            (rate("twostage_ranking_model_server_calls_total", "outcome"), "{{outcome}}"),
        ],
        "ops",
        stacked=True,
    ),
    Panel(
        "In flight at model servers",
        [(f"sum by (pod) (twostage_ranking_model_server_in_flight{{{HERE_ONLY}}})", "{{pod}}")],
        description="A model server computes even what nobody waits for any more, so this is bounded.",
    ),
    Panel(
        "Model server's own latency, mean",
        [
            (
                f"{rate(MODEL_LATENCY + '_sum', 'model_name')} / {rate(MODEL_LATENCY + '_count', 'model_name')}",
                "{{model_name}}",
            )
        ],
        "µs",
    ),
    Panel("Candidates to rank, median", quantiles("twostage_ranking_candidates", "ranker", shares=(0.5,))),
    Panel(
        "Requests by method, all services",
        [(rate("twostage_requests_total", "method"), "{{method}}")],
        "reqps",
    ),
]

FLEET = [
    Panel(
        "CPU by pod", [(rate("process_cpu_seconds_total", "pod"), "{{pod}}")], "none", "Of a core; 1 is a whole one."
    ),
    Panel(
        "Memory by pod",
        [(f"sum by (pod) (process_resident_memory_bytes{{{HERE_ONLY}}})", "{{pod}}")],
        "bytes",
        "Mapped files of the bundle count for each process that reads them.",
    ),
    Panel("Requests in flight by pod", [(f"sum by (pod) (twostage_requests_in_flight{{{HERE_ONLY}}})", "{{pod}}")]),
    Panel("Ready", [(f"min by (pod) (twostage_ready{{{HERE_ONLY}}})", "{{pod}}")], "bool", most=1),
    Panel(
        "Active generation by pod",
        [(f'max by (pod) (twostage_generation{{{HERE_ONLY}, state="active"}})', "{{pod}}")],
        "none",
    ),
    Panel(
        "Generations that became active, and refused",
        [
            (rate("twostage_generation_swaps_total", "pod"), "{{pod}} swapped"),
            (rate("twostage_generations_refused_total", "pod"), "{{pod}} refused"),
        ],
        "ops",
    ),
    Panel("Seconds to prepare a generation", quantiles("twostage_generation_swap_seconds", "pod", shares=(0.99,)), "s"),
    Panel(
        "Since the store was last read",
        [(f"time() - max by (pod) (twostage_sync_last_success_timestamp_seconds{{{HERE_ONLY}}})", "{{pod}}")],
        "s",
    ),
    Panel(
        "User store",
        [
            *quantiles("twostage_gateway_user_store_seconds", "operation", shares=(0.99,)),
        ],
        "s",
    ),
    Panel(
        "People answered as strangers",
        [
            (rate("twostage_gateway_user_store_failures_total"), "the store failed"),
            (rate("twostage_gateway_user_store_not_asked_total"), "it was not asked"),
        ],
        "ops",
        "The user store did not answer; docs/users.md.",
    ),
    Panel(
        "Earlier answers",
        [
            (rate("twostage_gateway_answer_cache_total", "outcome"), "{{outcome}}"),
        ],
        "ops",
        "Looked for where retrieval does not answer.",
    ),
    Panel(
        "Memory of earlier answers",
        [(f"sum by (pod) (twostage_gateway_answer_cache_bytes{{{HERE_ONLY}}})", "{{pod}}")],
        "bytes",
    ),
    Panel(
        "Log of impressions",
        [
            (rate("twostage_gateway_log_written_total", "log"), "{{log}} written"),
            (rate("twostage_gateway_log_dropped_total", "log, reason"), "{{log}} dropped: {{reason}}"),
        ],
        "ops",
    ),
    Panel(
        "Days until certificates end",
        [
            (
                f"(min by (pod, certificate) ({CERTIFICATE_EXPIRY}{{{HERE_ONLY}}}) - time()) / 86400",
                "{{pod}} {{certificate}}",
            )
        ],
        "none",
    ),
    Panel("Spans of traces", [(rate("twostage_trace_spans_total", "outcome"), "{{outcome}}")], "ops"),
]

DASHBOARDS = {
    "overview": ("Twostage: overview", OVERVIEW),
    "stages": ("Twostage: stages", STAGES),
    "fleet": ("Twostage: fleet", FLEET),
}


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"twostage-{name}",
        "title": title,
        "tags": ["twostage"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source"},
                {
                    "name": "namespace",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": {"query": "label_values(twostage_ready, namespace)", "refId": "namespace"},
                    "refresh": 2,
                },
            ]
        },
        "links": [{"type": "dashboards", "title": "Twostage", "tags": ["twostage"], "asDropdown": False}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 25} if panel.stacked else {}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, **({"custom": custom} if custom else {})}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.unit == "percentunit":
        defaults |= {"max": 1, "decimals": 3, "min": None}
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": number % 3 * WIDTH, "y": number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "exemplar": panel.exemplars}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def files() -> Iterator[tuple[Path, str]]:
    """Every dashboard's file and what it holds."""
    for name in DASHBOARDS:
        yield HERE / f"{name}.json", json.dumps(dashboard(name), indent=1) + "\n"


def main() -> int:
    """Writes the files, or with ``--check`` says which are not what this writes."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.stderr.write(f"expected --check or nothing, received {' '.join(sys.argv[1:])}\n")
        return 2
    wrong = 0
    for path, content in files():
        if not sys.argv[1:]:
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            sys.stderr.write(f"{path.name} is not what {Path(__file__).name} writes; run it\n")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
