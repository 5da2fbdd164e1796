"""The two stages as recommenders, by the engines that serve: retrieval alone, and retrieval followed by ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.query import RankedItems, RankingQuery
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

    @property
    def rankers(self) -> tuple[str, ...]:
        """The names of the generation's rankers, the default one first."""
        manifest = self.ranking.generation.manifest
        return (manifest.default_ranker, *(name for name in manifest.rankers if name != manifest.default_ranker))


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
        self.hide_seen = hide_seen
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
        return rows if self.hide_seen else rows[:0]

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


class SharedCandidates:
    """Candidates of people, asked for once and ranked by every ranker.

    Args:
        stages: The engines.
        people: Whom to recommend to.
        count: How many candidates are ranked; fewer when the catalogue is smaller.
    """

    def __init__(self, stages: Stages, people: People, count: int = CANDIDATE_COUNT) -> None:
        self.people = people
        self.count = min(count, stages.retrieval.item_count)
        self._stages = stages
        self._known: dict[int, Candidates] = {}
        self._seconds = 0.0

    def of(self, user: int) -> Candidates:
        """A person's candidates."""
        if user not in self._known:
            started = perf_counter()
            self._known[user] = retrieve_for(self._stages, self.people, user, self.count)
            self._seconds += perf_counter() - started
        return self._known[user]

    def retrieve(self, users: NDArray[np.integer]) -> float:
        """Asks for people's candidates ahead of ranking and returns the mean milliseconds of all asked for so far."""
        for user in users.tolist():
            self.of(user)
        return 1e3 * self._seconds / max(len(self._known), 1)


class RetrievalAndRanking:
    """Both stages; candidates beyond those that are shared do not exist for it.

    Args:
        stages: The engines.
        candidates: What is ranked.
        action: The action whose probability decides the order.
        ranker: Which of the generation's rankers; the default one when empty.
        name: Its name in tables.
    """

    title = "retrieval + ranking"
    """Its name where there is one ranker."""

    def __init__(
        self,
        stages: Stages,
        candidates: SharedCandidates,
        action: str,
        *,
        ranker: str = "",
        name: str = title,
    ) -> None:
        self.name = name
        self._stages = stages
        self._candidates = candidates
        self._action = action
        self._ranker = ranker
        self._known: dict[int, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """As :class:`training.evaluation.recommender.Recommender`."""
        rows = self.score(users).rows[:, :k]
        ranked = np.full((len(users), k), -1, np.int32)
        ranked[:, : rows.shape[1]] = rows
        return ranked

    def score(self, users: NDArray[np.integer]) -> ScoredCandidates:
        """Ranks every candidate of some people; people asked for before are remembered."""
        rows = np.full((len(users), self._candidates.count), -1, np.int32)
        probabilities = np.zeros(rows.shape, np.float32)
        for position, user in enumerate(users.tolist()):
            if user not in self._known:
                self._known[user] = self._score_one(user)
            known_rows, known_probabilities = self._known[user]
            rows[position, : len(known_rows)] = known_rows
            probabilities[position, : len(known_rows)] = known_probabilities
        return ScoredCandidates(rows, probabilities)

    def _score_one(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        items = rank_for(self._stages, self._candidates, user, self._ranker, {self._action: 1.0})
        if items is None:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        action = items.actions.index(self._action)
        return items.rows.astype(np.int32), items.action_scores[:, action].copy()


def rank_for(
    stages: Stages, candidates: SharedCandidates, user: int, ranker: str = "", blend: Mapping[str, float] | None = None
) -> RankedItems | None:
    """All of a person's candidates as one ranker orders them; None when there are none.

    Args:
        stages: The engines.
        candidates: What is ranked.
        user: The person.
        ranker: Which of the generation's rankers; the default one when empty.
        blend: Weights by action; the ranker's own when None.
    """
    theirs = candidates.of(user)
    if not len(theirs.rows):
        return None
    query = RankingQuery(
        history=candidates.people.history(user),
        context=candidates.people.context,
        candidate_rows=theirs.rows,
        retrieval_scores=theirs.scores,
        count=len(theirs.rows),
        ranker=ranker,
        blend=blend or {},
    )
    return stages.ranking.rank(query, stages.scorer, _SCORER_SECONDS)
