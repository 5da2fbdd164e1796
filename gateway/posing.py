"""From a request to the question that the stages are asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.engine.budget import Budget
from gateway.engine.catalogue import Catalogue
from gateway.engine.full_answers import asked_of_ranking
from gateway.engine.person import NOBODY, StoredUser
from gateway.engine.plan import Plan
from gateway.engine.question import Question, pose
from gateway.engine.request import RecommendRequest
from gateway.engine.response import Timing
from gateway.observer import Observer
from gateway.users.store import UserStore, UserStoreUnavailable
from twostage.rpc.tracing import current

MAX_CANDIDATE_COUNT = 2_000
"""As many candidates as retrieval gives and ranking takes."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request on its way, whatever the generation.

    Args:
        request_id: Names the answer.
        request: As the caller made it.
        plan: How it is answered.
        budget: What is left of the caller's time.
        examined: True when nobody gets the answer.
        include_item_ids: Items that become candidates beside those that retrieval finds.
    """

    request_id: str
    request: RecommendRequest
    plan: Plan
    budget: Budget
    examined: bool = False
    include_item_ids: Sequence[str] = ()


class Posing:
    """Reads people and poses their questions.

    Args:
        users: What people did.
        observer: Told when that cannot be read.
    """

    def __init__(self, users: UserStore, observer: Observer) -> None:
        self._users = users
        self._observer = observer

    def pose(self, ask: Ask, catalogue: Catalogue) -> Question:
        """Poses a request in one generation; a user store that fails makes the person unknown.

        Raises:
            InvalidField: The filter, a cap, an attribute, the ranker or the blend does not fit the generation.
        """
        start = time.perf_counter()
        stored, unread = self._read(ask.request.user_id, catalogue)
        count = max(ask.plan.candidate_count, asked_of_ranking(ask.request, ask.plan))
        count = min(count, catalogue.item_count, MAX_CANDIDATE_COUNT)
        plan = ask.plan if count == ask.plan.candidate_count else replace(ask.plan, candidate_count=count)
        question = pose(ask.request_id, ask.request, plan, catalogue, stored, unread=unread)
        seconds = time.perf_counter() - start
        question.timings.append(Timing("user", seconds * 1000))
        current.step("user", start, seconds)
        return question

    def _read(self, user_id: str, catalogue: Catalogue) -> tuple[StoredUser | None, bool]:
        """What is stored of a person, None when nothing is, and whether the store could not be read."""
        if not user_id:
            return NOBODY, False
        start = time.perf_counter()
        try:
            return self._users.read(user_id, catalogue.taste), False
        except UserStoreUnavailable as error:
            self._observer.user_store_failed(error)
            return None, True
        finally:
            self._observer.user_read(time.perf_counter() - start)
