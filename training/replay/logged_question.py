"""A logged answer's question, in the terms of the engines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gateway.engine.person import HistoryColumns, Person
from gateway.engine.plan import Exploration, Overrides, Plan, Rival
from gateway.engine.request import RecommendRequest
from twostage.bundle.filters import Condition, Filter
from twostage.candidates.source import Source
from twostage.features.context import Context
from twostage.features.diversity import Cap, Diversity
from twostage.features.history import History
from twostage.impressions.impression import Impression


@dataclass(frozen=True)
class LoggedQuestion:
    """What was asked, by whom and how it was to be answered.

    Args:
        request: As the stages were asked it. The ids of people and items are not in the log, rows stand for them.
        asked: As the caller asked it, without what experiments said otherwise; rivals are laid over it.
        plan: How it was answered.
        person: Whose history it was and what they could not be shown.
        pins: The pinned rows.
    """

    request: RecommendRequest
    asked: RecommendRequest
    plan: Plan
    person: Person
    pins: tuple[int, ...]

    @classmethod
    def of(cls, impression: Impression) -> LoggedQuestion:
        """Reads a logged answer.

        Raises:
            ValueError, KeyError, TypeError: A text of the log is not what it should be.
        """
        request = RecommendRequest(
            interest_tags=tuple(impression.interest_tags),
            count=impression.asked_count,
            context=Context(
                surface=impression.surface,
                device=impression.device,
                locale=impression.locale,
                time_seconds=impression.context_time,
                attributes=_json(impression.context_attributes, {}),
            ),
            filter=Filter(tuple(_condition(part) for part in _json(impression.filter, []))),
            include_seen=impression.include_seen,
            diversity=Diversity(
                impression.diversity_strength,
                tuple(Cap(part["attribute"], part["max_count"]) for part in _json(impression.diversity_caps, [])),
            ),
            explain=impression.explain,
            trace=impression.trace,
            ranker=impression.asked_ranker,
            blend=_json(impression.blend, {}),
        )
        overrides = _overrides(_json(impression.overrides, {}))
        plan = Plan(
            candidate_count=impression.candidate_count,
            source_quotas=_json(impression.source_quotas, {}),
            overrides=overrides,
            exploration=Exploration(
                impression.exploration_epsilon, impression.exploration_share, impression.exploration_pool_count
            ),
            rivals=tuple(Rival(part["arm"], _overrides(part)) for part in _json(impression.rivals, [])),
        )
        history = HistoryColumns(
            tuple(impression.history_rows),
            tuple(impression.history_actions),
            tuple(impression.history_values),
            tuple(impression.history_times),
        )
        person = Person(history, tuple(impression.excluded_rows), impression.unknown_item_count)
        return cls(request, _without(request, overrides), plan, person, tuple(impression.pinned_rows))

    def history(self, action_codes: Mapping[str, int]) -> History:
        """The history as rankers read it.

        Args:
            action_codes: The codes of recorded actions, from 1; other names count as unknown, 0.
        """
        columns = self.person.history
        known = History.of_rows(np.array(columns.rows, np.uint32))
        return replace(
            known,
            actions=np.array([action_codes.get(name, 0) for name in columns.actions], np.int32)
            if columns.actions
            else known.actions,
            values=np.array(columns.values, np.float32) if columns.values else known.values,
            times=np.array(columns.times_seconds, np.int64) if columns.times_seconds else known.times,
        )

    @property
    def quotas(self) -> dict[Source, int]:
        """The most candidates by source; names that this program does not know are left out, as when serving."""
        known = {(source.name or "").lower(): source for source in Source}
        return {known[name]: quota for name, quota in self.plan.source_quotas.items() if name in known}


def _json(text: str, nothing: Any) -> Any:
    return json.loads(text) if text else nothing


def _condition(part: Mapping[str, Any]) -> Condition:
    return Condition(
        part["attribute"],
        tuple(part.get("any_of", ())),
        tuple(part.get("none_of", ())),
        part.get("min"),
        part.get("max"),
    )


def _overrides(part: Mapping[str, Any]) -> Overrides:
    return Overrides(part.get("ranker", ""), part.get("blend", {}), part.get("diversity_strength"))


def _without(request: RecommendRequest, overrides: Overrides) -> RecommendRequest:
    """The request before overrides were laid over it; what it says itself they did not change."""
    if overrides.ranker and request.ranker == overrides.ranker:
        request = replace(request, ranker="")
    if overrides.blend and request.blend == overrides.blend:
        request = replace(request, blend={})
    if overrides.diversity_strength is not None and request.diversity.strength == overrides.diversity_strength:
        request = replace(request, diversity=replace(request.diversity, strength=0.0))
    return request
