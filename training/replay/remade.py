"""A logged answer made once more."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from gateway.engine.answer_cache import Remembered
from gateway.engine.answers import Answer, retrieval_order_answer
from gateway.engine.catalogue_answers import cached_answer, popular_answer
from gateway.engine.full_answers import full_answer
from training.replay.generation_stages import GenerationStages
from training.replay.logged_question import LoggedQuestion
from training.replay.row_candidates import RowCandidates
from twostage.impressions.candidates_hash import candidates_hash
from twostage.impressions.impression import Impression

_NOT_INTERLEAVED = "not interleaved"


class CannotReplay(Exception):
    """What is logged is not enough to make the answer again; the message says what is missing."""


@dataclass(frozen=True)
class Remade:
    """An answer made once more.

    Args:
        answer: The list and what is missing.
        ranker: The ranker that scored; empty when none did.
        found: Where the bundle's own candidates differ from the logged ones, in words; empty when they do not.
    """

    answer: Answer
    ranker: str = ""
    found: str = ""


def remake(impression: Impression, stages: GenerationStages, earlier: Impression | None = None) -> Remade:
    """Makes an answer once more.

    Args:
        impression: As logged.
        stages: Of its generation.
        earlier: For an answer from the cache: the one that it came from; None when it is not in the log.

    Raises:
        CannotReplay: What is logged is not enough.
        InvalidField: It does not fit the generation.
        RankingError: A model does not do what the bundle says.
    """
    try:
        question = LoggedQuestion.of(impression)
    except (ValueError, KeyError, TypeError) as error:
        raise CannotReplay(f"what was asked cannot be read: {error}") from error
    generation = stages.generation
    if impression.rung == "POPULAR":
        return Remade(popular_answer(question.request, generation, question.person.excluded_rows, question.pins))
    if impression.rung == "CACHED":
        return Remade(_cached(question, stages, earlier))
    if impression.rung not in ("FULL", "FEWER_CANDIDATES", "RETRIEVAL_ORDER"):
        raise CannotReplay(f"expected a rung of this program, found {impression.rung}")
    candidates, shortfall = stages.retrieve(question)
    difference = _difference(impression, candidates)
    logged = _logged_candidates(impression)
    if difference and logged is not None:
        # What retrieval gave then: a shard may have been left out, or the index was another one.
        candidates = logged
    if impression.rung == "RETRIEVAL_ORDER":
        answer = retrieval_order_answer(question.request, generation, candidates, shortfall, question.pins)
        return Remade(answer, found=difference)
    rivals = len(question.plan.rivals)
    rankings = stages.rank(
        question,
        candidates,
        ranked_count=impression.ranked_count,
        rival_count=min(rivals, 1) if _NOT_INTERLEAVED in impression.rung_reason else rivals,
    )
    answer = full_answer(
        question.request,
        question.plan,
        generation,
        candidates,
        shortfall,
        rankings,
        pins=question.pins,
        request_id=impression.request_id,
    )
    return Remade(answer, rankings[0].ranker, difference)


def _cached(question: LoggedQuestion, stages: GenerationStages, earlier: Impression | None) -> Answer:
    if earlier is None:
        raise CannotReplay("the earlier answer that it came from is not in the log")
    generation = stages.generation
    if earlier.generation != generation.number:
        raise CannotReplay(f"the earlier answer is of generation {earlier.generation}, not of {generation.number}")
    rows = generation.ids.rows(list(earlier.item_ids)).tolist()
    pinned = frozenset(earlier.pinned_rows)
    kept = [(row, score) for row, score in zip(rows, earlier.scores, strict=True) if row not in pinned]
    remembered = Remembered(
        earlier.request_id,
        earlier.generation,
        array("I", [row for row, _ in kept]),
        array("d", [score for _, score in kept]),
        known=True,
        seen_count=0,
        at=0.0,
    )
    answer = cached_answer(question.request, generation, remembered, question.person.excluded_rows, question.pins)
    if answer is None:
        raise CannotReplay("nothing of the earlier answer could be shown")
    return answer


def _difference(impression: Impression, candidates: RowCandidates) -> str:
    if impression.candidates_found != len(candidates):
        return f"{len(candidates)} candidates instead of {impression.candidates_found}"
    if impression.candidates_hash != candidates_hash(candidates.rows()):
        return f"other candidates, or others first, among {len(candidates)}"
    return ""


def _logged_candidates(impression: Impression) -> RowCandidates | None:
    """The candidates themselves, where all of them were logged; which sources found them was not."""
    count = len(impression.candidate_rows)
    if count != impression.candidates_found:
        return None
    return RowCandidates(
        np.array(impression.candidate_rows, np.uint32),
        np.array(impression.candidate_scores, np.float32),
        np.zeros(count, np.uint16),
    )
