"""Where a Recommend's time goes, and what fails on its way."""

from __future__ import annotations

from panels import HERE_ONLY, MODEL_LATENCY, Panel, quantiles, rate

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
