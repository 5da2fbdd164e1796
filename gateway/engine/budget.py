"""How the caller's remaining time is split over the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.engine.ladder import StageLate
from gateway.engine.stage_times import StageTimes

# What a stage needs as good as always, and what it needs as often as not.
_NEARLY_ALWAYS = 0.95
_HALF_THE_TIME = 0.5


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """The shares of a request's time.

    Retrieval may use what it does not have to leave for ranking and for the answer; ranking may use what it does not
    have to leave for the answer. So a fast retrieval gives its time to ranking, and a hanging one leaves ranking's
    share untouched.

    Once enough calls were measured, ranking's share follows them: the stages' p95, with transport, stand to each other
    as their shares do. So both have the same slack where there is some, and lack the same where there is not. The
    fixed share bounds it: it moves half way to nothing or to everything at most.

    Args:
        ranking_share: The part of the whole that is kept for ranking while retrieval runs, 0..1.
        answer_share: The part of the whole that is kept for building the answer and sending it back, 0..1.
        answer_least_seconds: At least so much is kept for the answer.
        answer_most_seconds: More than this is never kept for the answer.
        stage_least_seconds: A stage with less time than this is not asked: it could not finish.
        measured: How long the stages took of late; None keeps the shares fixed and knows no stage that cannot finish
            but those with less than ``stage_least_seconds``.
    """

    ranking_share: float = 0.5
    answer_share: float = 0.05
    answer_least_seconds: float = 0.004
    answer_most_seconds: float = 0.050
    stage_least_seconds: float = 0.003
    measured: StageTimes | None = None

    def __post_init__(self) -> None:
        """Refuses shares that leave nothing for retrieval.

        Raises:
            ValueError: A share is outside 0..1, or both together reach 1.
        """
        if not (0 <= self.ranking_share < 1 and 0 <= self.answer_share < 1):
            raise ValueError(f"shares: expected 0 to below 1, received {self.ranking_share}, {self.answer_share}")
        if self.ranking_share + self.answer_share >= 1:
            raise ValueError(
                f"shares: expected a sum below 1, received {self.ranking_share} + {self.answer_share}: "
                "nothing is left for retrieval"
            )

    def share_of_ranking(self) -> float:
        """The part of the whole that is kept for ranking while retrieval runs, measured or else fixed."""
        fixed = self.ranking_share
        if self.measured is None or fixed == 0:
            return fixed
        retrieval = self.measured.retrieval.quantile(_NEARLY_ALWAYS)
        ranking = self.measured.ranking.quantile(_NEARLY_ALWAYS)
        if retrieval is None or ranking is None or retrieval + ranking <= 0:
            return fixed
        for_stages = 1.0 - self.answer_share
        measured = for_stages * ranking / (retrieval + ranking)
        return min(max(measured, fixed / 2), (fixed + for_stages) / 2)


class Budget:
    """The time of one request, counting down from its creation.

    A stage is not started with less time than half of its recent calls took that were answered: more often than not its
    work would be for nothing, and would be lost to requests that have the time. Calls that were given up do not count,
    so a stage that hangs is asked as ever; whether it should be is not the budget's question. What was measured is
    forgotten within seconds when nobody is let through, so that somebody is.

    Args:
        total_seconds: What the caller still waits, above 0.
        policy: How it is split.
        clock: Seconds that only grow; for tests.
    """

    __slots__ = ("_clock", "_end", "_policy", "total_seconds")

    def __init__(
        self, total_seconds: float, policy: BudgetPolicy | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total_seconds = total_seconds
        self._policy = policy if policy is not None else BudgetPolicy()
        self._clock = clock
        self._end = clock() + total_seconds

    @property
    def remaining_seconds(self) -> float:
        """What the caller still waits; below 0 when the deadline has passed."""
        return self._end - self._clock()

    @property
    def answer_seconds(self) -> float:
        """What is kept for building the answer and sending it back."""
        policy = self._policy
        return min(
            max(self.total_seconds * policy.answer_share, policy.answer_least_seconds), policy.answer_most_seconds
        )

    def retrieval_timeout(self, *, ranking_follows: bool = True) -> float:
        """How long retrieval may take from now, in seconds.

        Args:
            ranking_follows: False where nothing need be kept for ranking.

        Raises:
            StageLate: Too little is left for it to finish.
        """
        ranking_seconds = self.total_seconds * self._policy.share_of_ranking() if ranking_follows else 0.0
        measured = self._policy.measured
        half = measured.retrieval.quantile(_HALF_THE_TIME) if measured is not None else None
        return self._granted("retrieval", ranking_seconds + self.answer_seconds, half)

    def ranking_timeout(self, candidate_count: int | None = None) -> float:
        """How long ranking may take from now, in seconds.

        Args:
            candidate_count: How many are to be ranked; None takes it that they are as many as ever; fewer may
                be started with less time.

        Raises:
            StageLate: Too little is left for it to finish.
        """
        measured = self._policy.measured
        half = measured.ranking.quantile(_HALF_THE_TIME) if measured is not None else None
        if measured is not None and half is not None and candidate_count is not None:
            half = min(half, measured.ranking_by_count.seconds(candidate_count, _HALF_THE_TIME) or half)
        return self._granted("ranking", self.answer_seconds, half)

    def affordable_candidates(self, wanted_count: int) -> int:
        """How many candidates ranking can take in the time that is left, as good as always.

        Args:
            wanted_count: More are not asked for.

        Returns:
            ``wanted_count`` while nothing was measured; 0 where ranking cannot be asked at all.
        """
        seconds = self.remaining_seconds - self.answer_seconds
        if seconds < self._policy.stage_least_seconds:
            return 0
        measured = self._policy.measured
        most = measured.ranking_by_count.most_candidates(seconds, _NEARLY_ALWAYS) if measured is not None else None
        return wanted_count if most is None else min(wanted_count, most)

    def _granted(self, stage: str, kept: float, half: float | None) -> float:
        timeout = self.remaining_seconds - kept
        if timeout < self._policy.stage_least_seconds:
            raise StageLate(stage, f"not asked, {max(timeout, 0.0) * 1000:.1f} ms were left for it")
        if half is not None and timeout < half:
            needed = f"half of its calls take {half * 1000:.1f} ms"
            raise StageLate(stage, f"not asked, {timeout * 1000:.1f} ms were left for it, and {needed}")
        return timeout
