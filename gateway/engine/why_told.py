"""The whole story of an item, from the first rule to its place in the answer or to what lost it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gateway.engine.ladder import Rung
from gateway.engine.response import Recommendation
from gateway.engine.served import Served
from gateway.engine.stages import RankedItem
from gateway.engine.why import Effect, Judgement, Outcome, Step, Why
from gateway.engine.why_not_retrieved import why_not_retrieved
from gateway.engine.why_rules import exclusion, filtering
from gateway.engine.why_selection import Standing, why_not_selected
from gateway.engine.why_stages import (
    Candidate,
    SecondLook,
    catalogue_step,
    find_candidate,
    lost_recommendation,
    not_looked_at,
    placed_step,
    ranking_step,
    retrieval_steps,
    selection_rules,
    standings,
)
from twostage.bundle.generation import Generation
from twostage.features.diversity import Diversity


class Likeness(NamedTuple):
    """The kept item that an item is most like, and how much: item vector · item vector."""

    item_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one item and one answer.

    Args:
        served: The answer and what it was made from, traced.
        generation: Its generation.
        item_id: The item.
        row: Its row.
        second: What a second look at the stages told; None where the answer tells enough.
        likeness: The kept item that it is most like; None where that was not looked at or is not known.
    """

    served: Served
    generation: Generation
    item_id: str
    row: int
    second: SecondLook | None = None
    likeness: Likeness | None = None

    @property
    def position(self) -> int:
        """The item's position in the answer, from 1; 0 when it is not there."""
        ids = [each.item_id for each in self.served.response.recommendations]
        return ids.index(self.item_id) + 1 if self.item_id in ids else 0

    @property
    def candidate(self) -> Candidate | None:
        """Its place among the candidates; None when it has none."""
        candidates = self.served.candidates
        return None if candidates is None else find_candidate(candidates, self.row)

    @property
    def selected(self) -> Sequence[RankedItem]:
        """What ranking selected for the answer, before exploration."""
        ranked = self.served.ranked
        return () if ranked is None else ranked.items[: self.served.request.count]

    @property
    def ranked_item(self) -> RankedItem | None:
        """What ranking said of it, in the answer or at the second look."""
        served = self.served
        if served.ranked is not None and served.candidates is not None:
            found = SecondLook(served.candidates, served.ranked).find(self.row)
            if found is not None:
                return found
        return None if self.second is None else self.second.find(self.row)

    @property
    def rules(self) -> tuple[list[Step], Judgement | None]:
        """The steps of exclusions and filter that it passed, and what lost it there, if anything did."""
        served = self.served
        told = [
            exclusion(served.request, served.person, self.item_id, self.row),
            *filtering(served.request.filter, self.generation.attributes, self.row),
        ]
        passed: list[Step] = []
        for each in told:
            if isinstance(each, Judgement):
                return passed, each
            passed.append(each)
        return passed, None


def tell(evidence: Evidence, weights: Mapping[str, float]) -> Why:
    """Tells the story.

    Args:
        evidence: What is known.
        weights: How much each action counts in the scores.

    Returns:
        For an item in the answer its way there; for another one its way to what lost it.
    """
    response = evidence.served.response
    steps = [catalogue_step(evidence.generation, evidence.row)]
    passed, refused = evidence.rules
    recommendation: Recommendation
    position = evidence.position
    if position:
        outcome, recommendation = Outcome.RECOMMENDED, response.recommendations[position - 1]
        steps += [*passed, *_way_into_answer(evidence, weights, position)]
    else:
        if refused is not None:
            further: list[Step] = []
            judged = refused
            recommendation = lost_recommendation(evidence.item_id, _title(evidence))
        else:
            further, judged, recommendation = _way_to_loss(evidence, weights)
        outcome = judged.outcome
        steps += [*passed, *further, judged.step]
    return Why(
        request_id=response.request_id,
        generation=response.generation,
        rung=response.rung,
        rung_reason=response.rung_reason,
        outcome=outcome,
        steps=steps,
        recommendation=recommendation,
        position=position,
        arms=response.arms,
    )


def _way_into_answer(evidence: Evidence, weights: Mapping[str, float], position: int) -> list[Step]:
    served, candidate = evidence.served, evidence.candidate
    count = len(served.response.recommendations)
    steps: list[Step] = []
    if served.candidates is None or candidate is None:
        steps += [not_looked_at(stage, served.response.rung_reason) for stage in ("retrieval", "ranking")]
    else:
        steps += retrieval_steps(served.candidates, candidate)
        item = evidence.ranked_item
        if item is None:
            steps.append(not_looked_at("ranking", served.response.rung_reason))
            rules = selection_rules(served, evidence.row)
            steps.append(placed_step("selection", rules, candidate.rank, position, {}))
        else:
            steps.append(_ranked(served, item, weights))
            steps += _placements(evidence, item, position)
    recommendation = served.response.recommendations[position - 1]
    words = f"it stands at {position} of {count}"
    numbers = {"position": float(position), "count": float(count), "propensity": recommendation.propensity}
    return [*steps, Step("answer", "count", Effect.KEPT, words, numbers)]


def _placements(evidence: Evidence, item: RankedItem, position: int) -> list[Step]:
    """What pins, caps, diversity, interleaving and exploration did with a ranked item that is in the answer."""
    served = evidence.served
    assert served.ranked is not None
    if served.plan.rivals:
        team = served.response.recommendations[position - 1].team
        rules = [f"interleaving {team}" if team else "interleaving"]
        return [placed_step("selection", rules, item.ranking_rank, position, {})]
    selected = next(
        (place for place, each in enumerate(served.ranked.items, start=1) if each.item_id == item.item_id), position
    )
    steps = [placed_step("selection", selection_rules(served, evidence.row), item.ranking_rank, selected, {})]
    if selected != position:
        numbers = {"epsilon": served.plan.exploration.epsilon, "share": served.plan.exploration.share}
        steps.append(placed_step("exploration", ["exploration"], selected, position, numbers))
    return steps


def _way_to_loss(evidence: Evidence, weights: Mapping[str, float]) -> tuple[list[Step], Judgement, Recommendation]:
    """What happened to an item that may be recommended and is not in the answer."""
    served, title, candidate = evidence.served, _title(evidence), evidence.candidate
    if served.candidates is None:
        further = [not_looked_at(stage, served.response.rung_reason) for stage in ("retrieval", "ranking")]
        judged, score = _without_candidates(evidence)
        return further, judged, lost_recommendation(evidence.item_id, title, score=score)
    if candidate is None:
        judged = why_not_retrieved(served.candidates, evidence.second, evidence.generation, evidence.row)
        own = None if evidence.second is None else find_candidate(evidence.second.candidates, evidence.row)
        retrieval_score = None if own is None else own.score
        return [], judged, lost_recommendation(evidence.item_id, title, retrieval_score=retrieval_score)
    further = list(retrieval_steps(served.candidates, candidate))
    item = evidence.ranked_item
    recommendation = lost_recommendation(
        evidence.item_id,
        title,
        candidates=served.candidates,
        candidate=candidate,
        ranked=item,
        score=candidate.score if served.ranked is None else 0.0,
    )
    if served.ranked is None:
        further.append(not_looked_at("ranking", served.response.rung_reason))
        return further, _by_retrieval_order(evidence, candidate), recommendation
    assert item is not None, "whoever gathered the evidence asked ranking for it"
    further.append(_ranked(served, item, weights))
    further_steps, judged = _by_ranking(evidence, item)
    return [*further, *further_steps], judged, recommendation


def _by_ranking(evidence: Evidence, item: RankedItem) -> tuple[list[Step], Judgement]:
    served, selected = evidence.served, evidence.selected
    count = served.request.count
    standing = Standing(item.item_id, evidence.row, item.ranking_rank, item.score)
    place = next((place for place, each in enumerate(selected, start=1) if each.item_id == item.item_id), 0)
    if place and not served.plan.rivals:
        # It was selected and is not in the answer.
        exploration = served.plan.exploration
        step = placed_step("selection", selection_rules(served, evidence.row), item.ranking_rank, place, {})
        numbers = {"epsilon": exploration.epsilon, "share": exploration.share, "position_before": float(place)}
        words = f"it would stand at {place}, but exploration gave its place to an item further down"
        return [step], Judgement(Outcome.PASSED_OVER, Step("exploration", "exploration", Effect.LOST, words, numbers))
    judged = why_not_selected(
        standing,
        standings(served, selected),
        count,
        served.request.diversity,
        evidence.generation.attributes,
        stage="ranking",
        score_name="score",
    )
    if served.plan.rivals:
        return [], _not_drafted(evidence, standing, judged)
    if judged.step.rule == "diversity":
        judged = judged._replace(step=_with_likeness(evidence, judged.step, item))
    return [], judged


def _with_likeness(evidence: Evidence, step: Step, item: RankedItem) -> Step:
    """The step that unlikeness lost it, with the relevance and the likeness that were weighed, as far as known."""
    ranked = evidence.served.ranked if evidence.second is None else evidence.second.ranked
    assert ranked is not None
    scores = [each.score for each in ranked.items]
    numbers, words = dict(step.numbers), step.words
    low, high = min(scores), max(scores)
    if high > low and len(scores) == len(evidence.served.candidates or ()):
        numbers["relevance"] = (item.score - low) / (high - low)
    if evidence.likeness is not None:
        numbers["greatest_similarity"] = evidence.likeness.similarity
        words += f"; of those in the answer it is most like {evidence.likeness.item_id}"
    return step._replace(numbers=numbers, words=words)


def _not_drafted(evidence: Evidence, standing: Standing, by_first: Judgement) -> Judgement:
    """Why an item is in none of the places that two interleaved rankings shared, the first of which judged it so."""
    served = evidence.served
    count = served.request.count
    numbers = {"score": standing.score, "rank": float(standing.rank), "count": float(count)}
    first, second = (rival.arm for rival in served.plan.rivals)
    if by_first.step.rule.startswith("cap ") and evidence.second is not None:
        # It was never drafted from, for the ranking left it out.
        step = by_first.step
        return by_first._replace(step=step._replace(words=f"in the ranking of {first}, {step.words}"))
    words = f"it stands at {standing.rank} by the scores of {first}, and the draft of {first} and {second} ended before"
    outcome = Outcome.PASSED_OVER if standing.rank <= count else Outcome.OUTRANKED
    return Judgement(outcome, Step("selection", "interleaving", Effect.LOST, words, numbers))


def _by_retrieval_order(evidence: Evidence, candidate: Candidate) -> Judgement:
    """Why a candidate is not in an answer that ranking did not order."""
    served = evidence.served
    assert served.candidates is not None
    pinned = frozenset(served.pinned_rows)
    rows = evidence.generation.ids.rows([each.item_id for each in served.response.recommendations]).tolist()
    kept = []
    for each, row in zip(served.response.recommendations, rows, strict=True):
        place = find_candidate(served.candidates, row)
        assert place is not None, "on this rung candidates alone are answered"
        kept.append(Standing(each.item_id, row, place.rank, place.score, row in pinned))
    return why_not_selected(
        Standing(evidence.item_id, evidence.row, candidate.rank, candidate.score),
        kept,
        served.request.count,
        Diversity(caps=served.request.diversity.caps),
        evidence.generation.attributes,
        stage="retrieval",
        score_name="retrieval score",
    )


def _without_candidates(evidence: Evidence) -> tuple[Judgement, float]:
    """Why an item is not in an answer that neither stage made, and what it was ordered by."""
    served, generation, row = evidence.served, evidence.generation, evidence.row
    popularity = float(generation.popularity[row])
    if served.response.rung is Rung.CACHED:
        words = "it is not in the earlier answer that was given again; what lost it there was not looked at"
        step = Step("answer", "earlier answer", Effect.LOST, words, {"popularity": popularity})
        return Judgement(Outcome.NOT_RETRIEVED, step), 0.0
    request = served.request
    order = generation.popular_rows
    if request.filter:
        order = generation.attributes.rows(request.filter).keep(order)
    order = order[~np.isin(order, np.asarray(served.person.excluded_rows, np.int64))]
    places = {int(each): place for place, each in enumerate(order.tolist(), start=1)}
    pinned = frozenset(served.pinned_rows)
    rows = generation.ids.rows([each.item_id for each in served.response.recommendations]).tolist()
    kept = [
        Standing(each.item_id, other, places[other], each.score, other in pinned)
        for each, other in zip(served.response.recommendations, rows, strict=True)
    ]
    judged = why_not_selected(
        Standing(evidence.item_id, row, places[row], popularity),
        kept,
        request.count,
        Diversity(caps=request.diversity.caps),
        generation.attributes,
        stage="answer",
        score_name="popularity",
    )
    return judged, popularity


def _ranked(served: Served, item: RankedItem, weights: Mapping[str, float]) -> Step:
    """What ranking said of an item; of two that are interleaved, what the first said."""
    step = ranking_step(item, len(served.candidates or ()), weights)
    return step._replace(rule=f"score of {served.plan.rivals[0].arm}") if served.plan.rivals else step


def _title(evidence: Evidence) -> str:
    return evidence.generation.titles.take(np.array([evidence.row], np.uint32))[0]
