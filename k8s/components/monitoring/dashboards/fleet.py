"""Every pod, and what it holds."""

from __future__ import annotations

from panels import CERTIFICATE_EXPIRY, HERE_ONLY, Panel, quantiles, rate

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
