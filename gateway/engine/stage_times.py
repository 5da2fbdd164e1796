"""How long the stages took of late, with transport: what budgets, hedges and the ladder go by."""

from __future__ import annotations

from collections.abc import Callable

from gateway.engine.candidate_times import CandidateTimes
from twostage.latency import LatencyWindow


class StageTimes:
    """The measured times of both stages; each call is recorded by who makes it.

    Args:
        on_measured: Called with (stage, p50, p95), in seconds, whenever they were computed anew; nobody is told when
            None.

    Attributes:
        retrieval: Calls to replicas of retrieval, or of a shard of it.
        ranking: Calls to replicas of ranking.
        ranking_by_count: Calls of ranking, by their number of candidates.
    """

    def __init__(self, on_measured: Callable[[str, float, float], None] | None = None) -> None:
        def window(stage: str) -> LatencyWindow:
            if on_measured is None:
                return LatencyWindow()
            return LatencyWindow(on_measured=lambda p50, p95: on_measured(stage, p50, p95))

        self.retrieval = window("retrieval")
        self.ranking = window("ranking")
        self.ranking_by_count = CandidateTimes()
