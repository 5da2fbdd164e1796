"""What people get."""

from __future__ import annotations

from panels import HERE_ONLY, RECOMMEND, Panel, burn, quantiles, rate

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
