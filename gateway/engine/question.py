"""A request in one generation: who it is for, what may be answered, and what became of it so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gateway.engine.answer_cache import AnswerCache, Remembered
from gateway.engine.answers import Answer
from gateway.engine.attribute_check import check_attributes
from gateway.engine.catalogue import Catalogue
from gateway.engine.ladder import Rung, StageFailure
from gateway.engine.overrides import override
from gateway.engine.person import NOBODY, Person, StoredUser, describe_person
from gateway.engine.pins import pinned_rows
from gateway.engine.plan import Plan
from gateway.engine.ranker_check import check_ranker
from gateway.engine.request import RecommendRequest
from gateway.engine.response import RecommendResponse, Timing
from gateway.engine.served import Served
from gateway.engine.stages import Candidates, Ranked


@dataclass(frozen=True, slots=True)
class Question:
    """A request in one generation.

    Args:
        request_id: Names the answer.
        asked: The request as the caller made it.
        request: The request as the stages are asked it, with the plan's overrides.
        plan: How it is answered.
        catalogue: The generation.
        stored: What the user store knows; None when it knows nobody of this name.
        person: Whose history it is, and what they may not be shown.
        pins: The pinned rows.
        unread: True when the user store could not be read.
        notes: What was left out so far, in words for the caller.
        timings: What took how long so far.
    """

    request_id: str
    asked: RecommendRequest
    request: RecommendRequest
    plan: Plan
    catalogue: Catalogue
    stored: StoredUser | None
    person: Person
    pins: tuple[int, ...]
    unread: bool = False
    notes: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)

    def served(
        self,
        rung: Rung,
        answer: Answer,
        failure: StageFailure | None = None,
        *,
        candidates: Candidates | None = None,
        ranked: Ranked | None = None,
        note: str = "",
    ) -> Served:
        """Puts the answer together.

        Args:
            rung: How much of the system answered.
            answer: The list.
            failure: Why no more of it did; None where all did.
            candidates: As retrieval gave them; None when it did not.
            ranked: As ranking gave them; None when it did not.
            note: What else the caller should know of the rung.
        """
        recommendations, shortfall = answer
        notes = [note, *self.notes] if note else self.notes
        if failure is not None:
            notes = [failure.reason, *notes, *_left_out(self.asked, rung)]
        response = RecommendResponse(
            request_id=self.request_id,
            recommendations=recommendations,
            shortfall=shortfall,
            generation=self.catalogue.number,
            rung=rung,
            rung_reason="; ".join(notes),
            timings=self.timings,
            unknown_item_count=self.person.unknown_item_count,
            ranker=ranked.ranker if ranked is not None else "",
            arms=self.plan.arms,
        )
        return Served(self.request, self.plan, self.person, self.pins, candidates, ranked, response, time.time())

    def elsewhere(self, catalogue: Catalogue) -> Question:
        """The same request in another generation, from which an earlier answer came.

        Raises:
            InvalidField: The request does not fit that generation.
        """
        if catalogue is self.catalogue:
            return self
        other = pose(self.request_id, self.asked, self.plan, catalogue, self.stored, unread=self.unread)
        return replace(other, notes=self.notes, timings=self.timings)

    def remember(self, served: Served, answers: AnswerCache) -> None:
        """Keeps the answer for a time when there is no better one.

        Args:
            served: An answer to this question, from candidates.
            answers: Where it is kept.
        """
        shown = served.response.recommendations
        rows: Sequence[int] = self.catalogue.rows.rows([each.item_id for each in shown])
        scores = [each.score for each in shown]
        if self.pins:
            pinned = frozenset(self.pins)
            free = [position for position, row in enumerate(rows) if row not in pinned]
            rows, scores = [rows[position] for position in free], [scores[position] for position in free]
        answers.remember(
            self.asked,
            request_id=self.request_id,
            generation=self.catalogue.number,
            rows=rows,
            scores=scores,
            known=self.stored is not None,
            seen_count=len(self.stored.seen_item_ids) if self.stored is not None else 0,
        )

    def recall(self, answers: AnswerCache) -> Remembered | None:
        """An earlier answer to this question that may be used for it.

        What may not be used is forgotten: an answer to a person whom the user store no longer knows, or of whom it
        knows less than it did, because they were deleted in the meantime. Where the store cannot be read nobody can
        tell, nor what the person has seen since, and no answer is used.
        """
        earlier = answers.recall(self.asked) if not self.unread else None
        if earlier is None or not earlier.known:
            return earlier
        if self.stored is None or len(self.stored.seen_item_ids) < earlier.seen_count:
            answers.forget(self.asked.user_id)
            return None
        return earlier


def pose(
    request_id: str,
    asked: RecommendRequest,
    plan: Plan,
    catalogue: Catalogue,
    stored: StoredUser | None,
    *,
    unread: bool = False,
) -> Question:
    """Poses a request in one generation.

    Args:
        request_id: Names the answer.
        asked: The request as the caller made it.
        plan: How it is answered.
        catalogue: The generation.
        stored: What the user store knows of the person; None when it knows nobody of this name.
        unread: True when the user store could not be read.

    Raises:
        InvalidField: The filter, a cap, an attribute, the ranker or the blend does not fit the generation.
    """
    generation = catalogue.generation
    check_attributes(generation.attributes, asked.filter, asked.attributes, asked.diversity.caps)
    if asked.ranker or asked.blend:
        check_ranker(generation.manifest, asked.ranker, asked.blend)
    request, dropped = override(asked, plan.overrides, generation.manifest)
    person = describe_person(
        catalogue.rows,
        stored if stored is not None else NOBODY,
        recent_item_ids=asked.recent_item_ids,
        exclude_item_ids=asked.exclude_item_ids,
        include_seen=asked.include_seen,
    )
    notes = ["user store unavailable: answered as for an unknown person"] if unread else []
    notes += [f"the experiment's {name} was not applied" for name in dropped]
    return Question(
        request_id=request_id,
        asked=asked,
        request=request,
        plan=plan,
        catalogue=catalogue,
        stored=stored,
        person=person,
        pins=pinned_rows(catalogue.rows, asked.pinned_item_ids),
        unread=unread,
        notes=notes,
    )


def _left_out(request: RecommendRequest, rung: Rung) -> Iterator[str]:
    """What the request asked for and only a stage that did not answer can do."""
    if rung.value >= Rung.CACHED.value and request.interest_tags:
        yield "interest_tags were not read"
    if request.diversity.strength > 0:
        yield "diversity.strength was not applied, caps were"
    unapplied = [name for name, asked in (("ranker", request.ranker), ("blend", request.blend)) if asked]
    if unapplied:
        yield f"{' and '.join(unapplied)} {'were' if len(unapplied) > 1 else 'was'} not applied"
    if request.explain:
        yield "nothing could be explained"
