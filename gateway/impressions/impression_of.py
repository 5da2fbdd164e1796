"""An answer as it is logged."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.engine.ladder import Rung
from gateway.engine.plan import NO_OVERRIDES
from gateway.engine.request import MAX_COUNT
from gateway.engine.served import Served
from gateway.engine.stages import Candidates
from gateway.impressions.asked import caps_text, filter_text, mapping_text, overrides_text, rivals_text
from twostage.impressions.candidates_hash import candidates_hash
from twostage.impressions.impression import Impression, Integers, Numbers
from twostage.impressions.user_key import UserKeys

_NO_SCORES = np.empty(0, np.float32)
_NO_ROWS = np.empty(0, np.uint32)
_SEPARATOR = "|"
_PLACES = tuple(range(1, MAX_COUNT + 1))
_NOWHERE = (0,) * MAX_COUNT


class _Turned(NamedTuple):
    """The fields of :class:`gateway.engine.response.Recommendation`, in their order, of all items."""

    item_id: tuple[str, ...]
    score: tuple[float, ...]
    title: tuple[str, ...]
    action_scores: tuple[Mapping[str, float], ...]
    attributes: tuple[Mapping[str, str], ...]
    sources: tuple[Sequence[str], ...]
    reasons: tuple[Sequence[str], ...]
    candidate_rank: tuple[int, ...]
    trace: tuple[object, ...]
    explanations: tuple[object, ...]
    propensity: tuple[float, ...]
    team: tuple[str, ...]


class ImpressionMaker:
    """Makes impressions of answers.

    Args:
        keys: Stand for people.
        candidate_count: How many of the candidates are kept, besides those that are shown.
    """

    def __init__(self, keys: UserKeys, candidate_count: int = 0) -> None:
        self._keys = keys
        self._candidate_count = candidate_count

    def make(self, served: Served) -> Impression:
        """Makes the impression of an answer, which is not changed."""
        request, plan, person, response = served.request, served.plan, served.person, served.response
        context, exploration, history = request.context, plan.exploration, person.history
        candidates = _columns(served.candidates)
        shown = _shown(served, candidates)
        shortfall = response.shortfall
        kept_count = len(candidates.rows) if response.rung is Rung.FEWER_CANDIDATES else self._candidate_count
        return Impression(
            request_id=response.request_id,
            time=round(served.unix_seconds * 1e6),
            user_key=self._keys.user(request.user_id),
            generation=response.generation,
            rung=response.rung.name,
            rung_reason=response.rung_reason,
            ranker=response.ranker,
            experiments=[arm.experiment for arm in response.arms],
            arms=[arm.arm for arm in response.arms],
            asked_count=request.count,
            candidate_count=plan.candidate_count,
            surface=context.surface,
            device=context.device,
            locale=context.locale,
            context_time=context.time_seconds,
            context_attributes=mapping_text(context.attributes) if context.attributes else "",
            interest_tags=request.interest_tags,
            filter=filter_text(request.filter) if request.filter else "",
            include_seen=request.include_seen,
            asked_ranker=request.ranker,
            blend=mapping_text(request.blend) if request.blend else "",
            diversity_strength=request.diversity.strength,
            diversity_caps=caps_text(request.diversity.caps) if request.diversity.caps else "",
            pinned_rows=served.pinned_rows,
            source_quotas=mapping_text(plan.source_quotas) if plan.source_quotas else "",
            exploration_epsilon=exploration.epsilon,
            exploration_share=exploration.share,
            exploration_pool_count=exploration.pool_count,
            overrides=overrides_text(plan.overrides) if plan.overrides is not NO_OVERRIDES else "",
            rivals=rivals_text(plan.rivals) if plan.rivals else "",
            explain=request.explain,
            trace=request.trace,
            history_rows=history.rows,
            history_actions=history.actions,
            history_values=history.values,
            history_times=history.times_seconds,
            excluded_rows=_ascending(person.excluded_rows),
            unknown_item_count=person.unknown_item_count,
            candidates_found=candidates.found_count,
            candidates_hash=None if candidates.found_count is None else candidates_hash(candidates.rows),
            ranked_count=0 if served.ranked is None else served.ranked.candidate_count,
            candidate_rows=candidates.rows[:kept_count],
            candidate_scores=candidates.scores[:kept_count],
            item_ids=shown.item_ids,
            rows=shown.rows,
            scores=shown.scores,
            sources=shown.sources,
            candidate_ranks=shown.candidate_ranks,
            retrieval_scores=shown.retrieval_scores,
            ranking_ranks=shown.ranking_ranks,
            ranking_positions=shown.ranking_positions,
            propensities=shown.propensities,
            teams=shown.teams,
            actions=shown.actions,
            action_scores=shown.action_scores,
            missing_count=0 if shortfall is None else shortfall.missing_count,
            missing_reason="" if shortfall is None else shortfall.reason.name,
        )


def _ascending(rows: Sequence[int]) -> NDArray[np.uint32]:
    # By way of an array of Python's: NumPy takes several times as long to read a list.
    sorted_rows = np.frombuffer(array("I", rows), np.uint32).copy() if rows else _NO_ROWS
    sorted_rows.sort()
    return sorted_rows


class _Columns(NamedTuple):
    """The candidates' columns; ``found_count`` is None when retrieval gave none."""

    found_count: int | None
    rows: NDArray[np.uint32]
    scores: NDArray[np.float32]


def _columns(candidates: Candidates | None) -> _Columns:
    if candidates is None:
        return _Columns(None, _NO_ROWS, _NO_SCORES)
    return _Columns(len(candidates), candidates.rows(), candidates.scores())


class _Shown(NamedTuple):
    """The columns of what is shown, as of an impression."""

    item_ids: Sequence[str] = ()
    rows: Integers = ()
    scores: Sequence[float] = ()
    sources: Sequence[str] = ()
    candidate_ranks: Sequence[int] = ()
    retrieval_scores: Numbers = ()
    ranking_ranks: Sequence[int] = ()
    ranking_positions: Sequence[int] = ()
    propensities: Sequence[float] = ()
    teams: Sequence[str] = ()
    actions: Sequence[str] = ()
    action_scores: Sequence[float] = ()


def _shown(served: Served, candidates: _Columns) -> _Shown:
    recommendations = served.response.recommendations
    if not recommendations:
        return _Shown()
    # Named tuples stand on their heads in one step, which costs less than reading them field by field.
    column = _Turned(*zip(*recommendations, strict=True))
    ranks = column.candidate_rank
    ranking_ranks, positions = _in_ranking(ranks, served)
    actions, action_scores = _actions(column.action_scores)
    rows, retrieval_scores = _of_candidates(ranks, candidates)
    return _Shown(
        item_ids=column.item_id,
        rows=rows,
        scores=column.score,
        sources=tuple(map(_SEPARATOR.join, column.sources)),
        candidate_ranks=ranks,
        retrieval_scores=retrieval_scores,
        ranking_ranks=ranking_ranks,
        ranking_positions=positions,
        propensities=column.propensity,
        teams=column.team,
        actions=actions,
        action_scores=action_scores,
    )


def _of_candidates(ranks: Sequence[int], candidates: _Columns) -> tuple[Integers, Numbers]:
    """Each item's row and retrieval score, -1 and NaN for what was no candidate of this request."""
    if min(ranks) > 0 and max(ranks) <= len(candidates.rows):
        found = np.array(ranks, np.intp) - 1
        return candidates.rows[found], candidates.scores[found]
    # Popular items were none, and a cached answer names candidates of another request.
    known = [0 < rank <= len(candidates.rows) for rank in ranks]
    pairs = list(zip(ranks, known, strict=True))
    return (
        [int(candidates.rows[rank - 1]) if is_known else -1 for rank, is_known in pairs],
        [float(candidates.scores[rank - 1]) if is_known else math.nan for rank, is_known in pairs],
    )


def _in_ranking(candidate_ranks: Sequence[int], served: Served) -> tuple[Sequence[int], Sequence[int]]:
    """Each item's rank before the selection policy and its place in what ranking gave, 0 where unknown."""
    ranked, count = served.ranked, len(candidate_ranks)
    if ranked is None:
        return _NOWHERE[:count], _NOWHERE[:count]
    items = ranked.items
    if not served.plan.exploration.epsilon and not served.plan.rivals:
        # As nearly always: shown as ranking gave them.
        ranks = tuple(item.ranking_rank for item in items[:count]) if served.request.trace else _NOWHERE[:count]
        return ranks, _PLACES[:count]
    place = {item.candidate_index + 1: position for position, item in enumerate(items)}
    places = [place.get(rank, -1) for rank in candidate_ranks]
    return [items[at].ranking_rank if at >= 0 else 0 for at in places], [at + 1 for at in places]


def _actions(action_scores: Sequence[Mapping[str, float]]) -> tuple[Sequence[str], Sequence[float]]:
    """The actions of all items, and their scores item by item; NaN for an action that an item has none of."""
    actions = tuple(action_scores[0])
    if all(map(actions.__eq__, map(tuple, action_scores))):
        return actions, list(chain.from_iterable([scores.values() for scores in action_scores]))
    # Two rankers were interleaved that predict different actions.
    actions = tuple(dict.fromkeys(chain.from_iterable(action_scores)))
    return actions, [scores.get(action, math.nan) for scores in action_scores for action in actions]
