"""How the caller's remaining time is split over the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.engine.ladder import StageLate


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """The shares of a request's time.

    Retrieval may use what it does not have to leave for ranking and for the answer; ranking may use what it does not
    have to leave for the answer. So a fast retrieval gives its time to ranking, and a hanging one leaves ranking's
    share untouched.

    Args:
        ranking_share: The part of the whole that is kept for ranking while retrieval runs, 0..1.
        answer_share: The part of the whole that is kept for building the answer and sending it back, 0..1.
        answer_least_seconds: At least so much is kept for the answer.
        answer_most_seconds: More than this is never kept for the answer.
        stage_least_seconds: A stage with less time than this is not asked: it could not finish.
    """

    ranking_share: float = 0.5
    answer_share: float = 0.05
    answer_least_seconds: float = 0.004
    answer_most_seconds: float = 0.050
    stage_least_seconds: float = 0.003

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


class Budget:
    """The time of one request, counting down from its creation.

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
        ranking_seconds = self.total_seconds * self._policy.ranking_share if ranking_follows else 0.0
        return self._granted("retrieval", ranking_seconds + self.answer_seconds)

    def ranking_timeout(self) -> float:
        """How long ranking may take from now, in seconds.

        Raises:
            StageLate: Too little is left for it to finish.
        """
        return self._granted("ranking", self.answer_seconds)

    def _granted(self, stage: str, kept: float) -> float:
        timeout = self.remaining_seconds - kept
        if timeout < self._policy.stage_least_seconds:
            raise StageLate(stage, f"not asked, {max(timeout, 0.0) * 1000:.1f} ms were left for it")
        return timeout
