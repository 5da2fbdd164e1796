"""The two stages as recommenders, by the engines that serve: retrieval alone, and retrieval followed by ranking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.query import RankingQuery
from ranking_service.engine.scorer import Scorer
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import Candidates, RetrievalQuery
from training.data.dataset import Interactions
from training.evaluation.problem import Problem
from training.features.histories import UserOrder, taste_of
from twostage.features.actions import ActionSchema
from twostage.features.context import Context
from twostage.features.history import History

CANDIDATE_COUNT = 500
"""How many candidates retrieval hands on, as the gateway asks by default."""

_SCORER_SECONDS = 60.0


@dataclass(frozen=True)
class Stages:
    """One generation's engines.

    Args:
        retrieval: The first stage.
        ranking: The second stage.
        scorer: Runs the second stage's models.
    """

    retrieval: RetrievalEngine
    ranking: RankingEngine
    scorer: Scorer


class People:
    """What the gateway would know of people when it asks the stages: their taste, and what they have seen.

    Args:
        past: What may be known.
        actions: Which of it is taste.
        hide_seen: True when seen items are not to be recommended, which is what the gateway does unless told otherwise.
    """

    def __init__(self, past: Interactions, actions: ActionSchema, *, hide_seen: bool) -> None:
        self._taste = UserOrder.of(past.take(taste_of(past, actions)))
        self._everything = UserOrder.of(past)
        self._hide_seen = hide_seen
        self._codes = np.array([1 + actions.recorded_names.index(name) for name in past.recorded], np.int32)
        self._now = 0 if past.times is None or not len(past) else int(past.times.max())

    def history(self, user: int) -> History:
        """A person's taste, oldest first."""
        span = self._taste.of_user(user)
        interactions = self._taste.interactions
        times = interactions.times
        return History(
            rows=interactions.rows[span].astype(np.uint32),
            actions=self._codes[interactions.actions[span]],
            values=interactions.values[span],
            times=np.zeros(span.stop - span.start, np.int64) if times is None else times[span],
        )

    def seen(self, user: int) -> NDArray[np.uint32]:
        """The rows that are not to be recommended to a person."""
        span = self._everything.of_user(user)
        rows = np.unique(self._everything.interactions.rows[span]).astype(np.uint32)
        return rows if self._hide_seen else rows[:0]

    @property
    def context(self) -> Context:
        """The moment of asking: right after the past; unknown where there is no time."""
        return Context(time_seconds=self._now)


def people_of(problem: Problem, interactions: Interactions, actions: ActionSchema) -> People:
    """The people of a problem; they have seen what they did in training, of whatever action."""
    return People(interactions.take(problem.learnable), actions, hide_seen=problem.task.new_items_only)


def retrieve_for(stages: Stages, people: People, user: int, count: int) -> Candidates:
    """A person's candidates."""
    query = RetrievalQuery(people.history(user), min(count, stages.retrieval.item_count), people.seen(user))
    return stages.retrieval.retrieve(query)


class RetrievalAlone:
    """The first stage's order.

    Args:
        stages: The engines.
        people: Whom to recommend to.
    """

    name = "retrieval"

    def __init__(self, stages: Stages, people: People) -> None:
        self._stages = stages
        self._people = people

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """As :class:`training.evaluation.recommender.Recommender`."""
        ranked = np.full((len(users), k), -1, np.int32)
        for position, user in enumerate(users.tolist()):
            rows = retrieve_for(self._stages, self._people, user, k).rows
            ranked[position, : len(rows)] = rows
        return ranked


@dataclass(frozen=True)
class ScoredCandidates:
    """All candidates of some people, in the ranker's order.

    Args:
        rows: int32[U, C], -1 where there are fewer.
        probabilities: float32[U, C] of one action, 0 where there is no candidate.
    """

    rows: NDArray[np.int32]
    probabilities: NDArray[np.float32]


class RetrievalAndRanking:
    """Both stages; candidates beyond those that are ranked do not exist for it.

    Args:
        stages: The engines.
        people: Whom to recommend to.
        action: The action whose probability decides the order.
        candidate_count: How many candidates are ranked.
        on_progress: Called once for each person.
    """

    name = "retrieval + ranking"

    def __init__(
        self,
        stages: Stages,
        people: People,
        action: str,
        *,
        candidate_count: int = CANDIDATE_COUNT,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._stages = stages
        self._people = people
        self._action = action
        self._candidate_count = candidate_count
        self._on_progress = on_progress
        self._known: dict[tuple[int, int], tuple[NDArray[np.int32], NDArray[np.float32]]] = {}

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """As :class:`training.evaluation.recommender.Recommender`."""
        rows = self.score(users, max(k, self._candidate_count)).rows
        ranked = np.full((len(users), k), -1, np.int32)
        ranked[:, : rows.shape[1]] = rows[:, :k]
        return ranked

    def score(self, users: NDArray[np.integer], candidate_count: int | None = None) -> ScoredCandidates:
        """Ranks every candidate of some people; people asked for before are remembered."""
        count = min(candidate_count or self._candidate_count, self._stages.retrieval.item_count)
        rows = np.full((len(users), count), -1, np.int32)
        probabilities = np.zeros((len(users), count), np.float32)
        for position, user in enumerate(users.tolist()):
            if (user, count) not in self._known:
                self._known[user, count] = self._score_one(user, count)
                self._on_progress()
            known_rows, known_probabilities = self._known[user, count]
            rows[position, : len(known_rows)] = known_rows
            probabilities[position, : len(known_rows)] = known_probabilities
        return ScoredCandidates(rows, probabilities)

    def _score_one(self, user: int, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        candidates = retrieve_for(self._stages, self._people, user, count)
        if not len(candidates.rows):
            return np.empty(0, np.int32), np.empty(0, np.float32)
        query = RankingQuery(
            history=self._people.history(user),
            context=self._people.context,
            candidate_rows=candidates.rows,
            retrieval_scores=candidates.scores,
            count=len(candidates.rows),
            blend={self._action: 1.0},
        )
        items = self._stages.ranking.rank(query, self._stages.scorer, _SCORER_SECONDS)
        action = items.actions.index(self._action)
        return items.rows.astype(np.int32), items.action_scores[:, action].copy()
