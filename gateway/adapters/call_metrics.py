"""What operators see of the calls to the stages: second attempts, replicas put aside, and how long calls take."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from structlog.typing import FilteringBoundLogger

from twostage.rpc import request_event
from twostage.rpc.outliers import OutlierPolicy, Outliers

_STAGES = ("retrieval", "ranking")


class CallMetrics:
    """Counts what happens between the gateway and the replicas of the stages.

    ``twostage_gateway_hedges_total{stage, outcome}`` (won, lost, refused),
    ``twostage_gateway_retries_total{stage, outcome}`` (made, refused),
    ``twostage_gateway_replicas_put_aside_total{stage, why}`` (failed, silent, slow),
    ``twostage_gateway_replicas_aside{stage}`` and ``twostage_gateway_stage_latency_seconds{stage, quantile}``.

    Args:
        registry: Where they are registered; one to a registry.
        logger: Where it is logged that a replica was put aside or taken back; structlog's default when unset.
    """

    def __init__(self, registry: CollectorRegistry, logger: FilteringBoundLogger | None = None) -> None:
        self._logger = logger if logger is not None else structlog.get_logger(service="gateway")
        self._hedges = Counter(
            "twostage_gateway_hedges_total",
            "Second attempts because the first was slow, by how they ended: won, lost, refused by their budget.",
            ("stage", "outcome"),
            registry=registry,
        )
        self._retries = Counter(
            "twostage_gateway_retries_total",
            "Second attempts because the first could not be made: made, refused by their budget.",
            ("stage", "outcome"),
            registry=registry,
        )
        self._put_aside = Counter(
            "twostage_gateway_replicas_put_aside_total",
            "How often a connection to a replica was put aside, and why: failed, silent, slow.",
            ("stage", "why"),
            registry=registry,
        )
        self._aside = Gauge(
            "twostage_gateway_replicas_aside",
            "Connections to replicas that are put aside now.",
            ("stage",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        latency = Gauge(
            "twostage_gateway_stage_latency_seconds",
            "How long a stage's answers took of late, with transport: what budgets go by.",
            ("stage", "quantile"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._judges: dict[str, list[Outliers]] = {}
        # Labels are resolved once, because resolving costs more than counting.
        self._latency = {stage: (latency.labels(stage, "0.5"), latency.labels(stage, "0.95")) for stage in _STAGES}

    def measured(self, stage: str, p50: float, p95: float) -> None:
        """Shows the quantiles that budgets go by, in seconds."""
        half, nearly_all = self._latency[stage]
        half.set(p50)
        nearly_all.set(p95)

    def of_stage(self, stage: str) -> StageCallMetrics:
        """Who counts the second attempts of one stage."""
        return StageCallMetrics(stage, self._hedges, self._retries)

    def outliers(self, stage: str, policy: OutlierPolicy | None) -> Outliers:
        """Makes the judge of a stage's replicas, or of one shard's.

        A replica that stays bad is tried ever more rarely, so that what is logged of it stays little.

        Args:
            stage: ``retrieval`` or ``ranking``.
            policy: When a replica is put aside; None puts nobody aside.
        """
        aside = self._aside.labels(stage)
        judges = self._judges.setdefault(stage, [])
        told: set[str] = set()

        def count() -> None:
            # A stage in shards has a judge for each.
            aside.set(sum(each.aside_count for each in judges))

        def on_aside(address: str, why: str, seconds: float) -> None:
            self._put_aside.labels(stage, why).inc()
            count()
            # Once more, after a trial, is nothing new.
            if address not in told:
                told.add(address)
                self._logger.warning("replica put aside", stage=stage, address=address, why=why, seconds=seconds)

        def on_back(address: str, seconds: float) -> None:
            count()
            told.discard(address)
            self._logger.info("replica taken back", stage=stage, address=address, after_seconds=round(seconds, 3))

        def on_left(address: str) -> None:
            count()
            told.discard(address)

        judge = Outliers(policy, on_aside=on_aside, on_back=on_back, on_left=on_left)
        judges.append(judge)
        return judge


class StageCallMetrics:
    """Counts second attempts at one stage; implements :class:`twostage.rpc.asked_service.CallWatcher`.

    The request's log event gets a fact too, e.g. ``ranking_hedge="won"``.

    Args:
        stage: ``retrieval`` or ``ranking``.
        hedges: By stage and outcome.
        retries: Likewise.
    """

    def __init__(self, stage: str, hedges: Counter, retries: Counter) -> None:
        self._stage = stage
        self._by_hedge = {outcome: hedges.labels(stage, outcome) for outcome in ("won", "lost", "refused")}
        self._by_retry = {outcome: retries.labels(stage, outcome) for outcome in ("made", "refused")}

    def hedged(self, outcome: str) -> None:
        """Counts a hedge."""
        self._by_hedge[outcome].inc()
        request_event.attach(**{f"{self._stage}_hedge": outcome})

    def retried(self, outcome: str) -> None:
        """Counts a retry."""
        self._by_retry[outcome].inc()
        request_event.attach(**{f"{self._stage}_retry": outcome})
