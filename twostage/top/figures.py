"""From samples to the figures that people look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twostage.top.window import Window

RECOMMEND = "twostage.v1.RecommendationService/Recommend"
RUNGS = ("FULL", "FEWER_CANDIDATES", "RETRIEVAL_ORDER", "CACHED", "POPULAR")
_QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Timed:
    """How often something happened and how long it took.

    Args:
        name: What.
        rate: Times a second.
        quantiles_ms: The median and what 90 and 99 % stayed below, in milliseconds; NaN where nothing happened.
    """

    name: str
    rate: float
    quantiles_ms: tuple[float, ...]


@dataclass(frozen=True)
class Server:
    """One server's state.

    Args:
        service: Its name.
        address: Where its metrics are.
        state: ``SERVING``, ``not ready``, or why there is no answer.
        answers: Whether it answered.
        generations: By state, e.g. ``active 3, previous 2``.
        cpu_share: Of a core, 1 is a whole one; NaN when unknown.
        memory_bytes: Resident; NaN when unknown.
        in_flight: Requests being worked on.
    """

    service: str
    address: str
    state: str
    answers: bool
    generations: str
    cpu_share: float
    memory_bytes: float
    in_flight: float


@dataclass(frozen=True)
class Figures:
    """Everything that is shown.

    Args:
        servers: Each server.
        methods: The gateway's methods that were called.
        codes: Requests a second of the gateway by code.
        rungs: Recommend answers a second by rung, the highest first; all rungs.
        stages: Stages of Recommend, with transport apart.
        notes: Lines for what has its own words: limits, caches, shortfalls.
    """

    servers: tuple[Server, ...]
    methods: tuple[Timed, ...]
    codes: dict[str, float]
    rungs: dict[str, float]
    stages: tuple[Timed, ...]
    notes: tuple[str, ...]


def figures(window: Window) -> Figures:
    """Reads a window."""
    rungs = window.rates("twostage_gateway_recommendations_total", by="rung")
    method_rates = window.rates("twostage_requests_total", by="method")
    called = sorted(name for name, rate in method_rates.items() if rate > 0 and "RecommendationService" in name)
    gateway_codes: dict[str, float] = {}
    for method in called:
        for code, rate in window.rates("twostage_requests_total", by="code", method=method).items():
            gateway_codes[code] = gateway_codes.get(code, 0.0) + rate
    return Figures(
        servers=tuple(_servers(window)),
        methods=tuple(
            Timed(
                name.rpartition("/")[2], method_rates[name], _quantiles(window, "twostage_request_seconds", method=name)
            )
            for name in called
        ),
        codes={code: rate for code, rate in sorted(gateway_codes.items()) if rate > 0},
        rungs={rung: rungs.get(rung, 0.0) for rung in RUNGS},
        stages=tuple(_stages(window)),
        notes=tuple(_notes(window)),
    )


def _quantiles(window: Window, name: str, **labels: str) -> tuple[float, ...]:
    return tuple(window.quantile(name, share, **labels) * 1e3 for share in _QUANTILES)


def _servers(window: Window) -> list[Server]:
    servers = []
    for sample in window.newest:
        own = window.only(sample.address)
        cpu = own.rates("process_cpu_seconds_total")
        ready = own.last("twostage_ready")
        generations = [
            f"{state} {number:.0f}"
            for state in ("active", "previous")
            for number in own.last("twostage_generation", state=state)
            if number
        ]
        state = "SERVING" if not ready or ready[0] else "not ready"
        servers.append(
            Server(
                service=sample.service,
                address=sample.address,
                state=sample.error or state,
                answers=not sample.error,
                generations=", ".join(generations),
                cpu_share=cpu.get("", math.nan),
                memory_bytes=next(iter(own.last("process_resident_memory_bytes")), math.nan),
                in_flight=sum(own.last("twostage_requests_in_flight") + own.last("twostage_http_requests_in_flight")),
            )
        )
    return servers


def _stages(window: Window) -> list[Timed]:
    name = "twostage_gateway_stage_seconds"
    stages = []
    for stage in ("users", "retrieval", "ranking", "answer"):
        parts = window.rates(f"{name}_count", by="part", stage=stage)
        for part in sorted(parts):
            title = f"{stage}, {part}" if len(parts) > 1 else stage
            stages.append(Timed(title, parts[part], _quantiles(window, name, stage=stage, part=part)))
    return [stage for stage in stages if stage.rate > 0]


def _notes(window: Window) -> list[str]:
    notes = []
    limit = sum(window.last("twostage_gateway_admission_limit"))
    if limit:
        working = sum(window.last("twostage_gateway_admission_in_flight"))
        waiting = sum(window.last("twostage_gateway_admission_waiting"))
        notes.append(f"admission: {working:.0f} of at most {limit:.0f} worked on, {waiting:.0f} waiting")
    notes += _counted(window, "refused", "twostage_gateway_refused_total", "reason")
    notes += _counted(window, "stages that did not answer", "twostage_gateway_stage_failures_total", "stage")
    notes += _counted(window, "answers with fewer items", "twostage_gateway_shortfalls_total", "reason")
    notes += _counted(window, "earlier answers looked for", "twostage_gateway_answer_cache_total", "outcome")
    notes += _counted(window, "second attempts, hedged", "twostage_gateway_hedges_total", "outcome")
    notes += _counted(window, "second attempts, retried", "twostage_gateway_retries_total", "outcome")
    notes += _counted(window, "shown by source", "twostage_gateway_shown_items_total", "source")
    aside = sum(window.last("twostage_gateway_replicas_aside"))
    if aside:
        notes.append(f"replicas put aside: {aside:.0f}")
    return notes


def _counted(window: Window, title: str, name: str, by: str) -> list[str]:
    rates = {key: rate for key, rate in sorted(window.rates(name, by=by).items()) if rate > 0}
    told = ", ".join(f"{key} {rate:.3g}/s" for key, rate in rates.items())
    return [f"{title}: {told}"] if told else []
