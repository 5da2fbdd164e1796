"""The gateway's links to both stages: connections to their replicas, who is asked, and what is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from gateway.adapters.call_metrics import CallMetrics
from gateway.adapters.ranking import RankingCalls
from gateway.adapters.retrieval import RetrievalCalls
from gateway.engine.stage_times import StageTimes
from gateway.settings import GatewaySettings
from twostage.rpc.calls import Calls
from twostage.rpc.channels import UNSEEN_ONLY, OpenChannel, Replicas
from twostage.v1 import ranking_pb2_grpc, retrieval_pb2_grpc


class Links(NamedTuple):
    """What a gateway asks.

    Args:
        retrieval: The first stage's replicas: of each shard, or of one that holds all rows.
        ranking: The second stage's.
        retrieval_calls: Who asks those of retrieval, in the same order.
        ranking_calls: Who asks those of ranking.
        times: How long the stages took of late.
    """

    retrieval: Sequence[Replicas[retrieval_pb2_grpc.RetrievalServiceStub]]
    ranking: Replicas[ranking_pb2_grpc.RankingServiceStub]
    retrieval_calls: Sequence[RetrievalCalls]
    ranking_calls: RankingCalls
    times: StageTimes

    def all(self) -> list[Replicas[Any]]:
        """The replicas of every part of every stage."""
        return [*self.retrieval, self.ranking]


def open_links(
    settings: GatewaySettings,
    on_change: Callable[[], None],
    opener: Callable[[str], OpenChannel],
    registry: CollectorRegistry,
    logger: FilteringBoundLogger | None = None,
) -> Links:
    """Opens the connections; the stages need not be there.

    Args:
        settings: Where the stages are and how they are asked.
        on_change: Called when somebody should ask the replicas anew what they hold; see `Replicas`.
        opener: Says how the channels to a target are opened.
        registry: Where metrics are registered.
        logger: Where it is logged which replicas are put aside; structlog's default when unset.
    """
    metrics = CallMetrics(registry, logger)
    policy, outliers = settings.call_policy(), settings.outlier_policy()
    retrieval = [
        Replicas(
            target,
            retrieval_pb2_grpc.RetrievalServiceStub,
            max_message_bytes=settings.max_message_bytes,
            service_config=UNSEEN_ONLY,
            resolve_seconds=settings.resolve_seconds,
            connection_count=settings.retrieval_connections,
            on_change=on_change,
            outliers=metrics.outliers("retrieval", outliers),
            open_channel=opener(target),
        )
        for target in settings.retrieval_targets
    ]
    ranking = Replicas(
        settings.ranking,
        ranking_pb2_grpc.RankingServiceStub,
        max_message_bytes=settings.max_message_bytes,
        service_config=UNSEEN_ONLY,
        resolve_seconds=settings.resolve_seconds,
        connection_count=settings.ranking_connections,
        on_change=on_change,
        outliers=metrics.outliers("ranking", outliers),
        open_channel=opener(settings.ranking),
    )
    return Links(
        retrieval,
        ranking,
        [Calls(replicas, policy=policy, watcher=metrics.of_stage("retrieval")) for replicas in retrieval],
        Calls(ranking, policy=policy, watcher=metrics.of_stage("ranking")),
        StageTimes(metrics.measured),
    )
