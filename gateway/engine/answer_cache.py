"""Earlier answers, kept for the time when retrieval gives none.

An answer is remembered by who asked and what the question was about: filter, interest tags, surface, ranker and blend,
as the caller stated them. How many were asked for, what was excluded, pinned or capped does not matter, because whoever
uses an earlier answer applies the present request's rules to it (`gateway.engine.catalogue_answers`). For people the
history does not matter either: their newest answer is the best there is, whatever they did since. A caller without a
user_id has nothing but the request, so there the history in it is a part of the question: only somebody who asks the
same gets the same.

It is this process's memory alone, bounded in bytes; the person asked for least lately goes first.
"""

from __future__ import annotations

import hashlib
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.engine.request import RecommendRequest

QUESTION_COUNT = 4
"""So many different questions are remembered of each person, the newest ones."""

FORGOTTEN_SECONDS = 30.0
"""So long after somebody was forgotten nothing is remembered of them: a request under way may have read them before."""

# Measured with tracemalloc: what a person and an answer cost beside the items, and what an item costs.
_PERSON_BYTES = 450
_ANSWER_BYTES = 450
_ITEM_BYTES = 12

_NOTHING_SPECIAL = b""


class Remembered(NamedTuple):
    """An earlier answer.

    Args:
        request_id: Its name.
        generation: Whose rows they are.
        rows: uint32[R], best first, without those that stood first because they were pinned.
        scores: float64[R], as they were answered.
        known: True when the user store knew the person.
        seen_count: How many items they had seen.
        at: When, by the cache's clock.
    """

    request_id: str
    generation: int
    rows: array[int]
    scores: array[float]
    known: bool
    seen_count: int
    at: float

    @property
    def byte_count(self) -> int:
        """What it holds, estimated."""
        return _ANSWER_BYTES + _ITEM_BYTES * len(self.rows)


class AnswerCache:
    """Remembers answers; safe to use from many threads.

    Args:
        max_bytes: The most that it holds, estimated; 0 remembers nothing.
        max_age_seconds: Older answers are not used.
        clock: Seconds that only grow; for tests.
    """

    def __init__(
        self,
        max_bytes: int = 16 << 20,
        max_age_seconds: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # Whoever asked lately stands last, and so does each person's newest question.
        self._people: OrderedDict[str | bytes, dict[bytes, Remembered]] = OrderedDict()
        self._byte_count = 0
        # Who was forgotten lately, and until when nothing of them is kept; the earliest first.
        self._forgotten: dict[str | bytes, float] = {}

    def __len__(self) -> int:
        """The number of people, or of questions of nobody in particular, of whom something is remembered."""
        return len(self._people)

    @property
    def byte_count(self) -> int:
        """What is held, estimated."""
        return self._byte_count

    def remember(
        self,
        request: RecommendRequest,
        *,
        request_id: str,
        generation: int,
        rows: Sequence[int],
        scores: Sequence[float],
        known: bool,
        seen_count: int,
    ) -> None:
        """Keeps an answer, in place of an earlier one to the same question.

        Args:
            request: The question, as the caller asked it.
            request_id: The answer's name.
            generation: Whose rows they are.
            rows: The items, best first; none of them pinned.
            scores: What they were ordered by.
            known: True when the user store knew the person.
            seen_count: How many items they had seen.
        """
        if not rows or not self._max_bytes:
            return
        person, question = _key(request)
        entry = Remembered(
            request_id, generation, array("I", rows), array("d", scores), known, seen_count, self._clock()
        )
        with self._lock:
            if self._forgotten and self._is_forgotten(person):
                return
            answers = self._people.pop(person, None)
            if answers is None:
                answers = {}
                self._byte_count += _person_bytes(person)
            else:
                self._drop(answers, question)
            if len(answers) == QUESTION_COUNT:
                self._drop(answers, next(iter(answers)))
            answers[question] = entry
            self._people[person] = answers
            self._byte_count += entry.byte_count
            while self._byte_count > self._max_bytes and self._people:
                self._forget(next(iter(self._people)))

    def recall(self, request: RecommendRequest) -> Remembered | None:
        """The newest answer to a question, None when there is none or it is too old."""
        person, question = _key(request)
        with self._lock:
            answers = self._people.get(person)
            found = answers.get(question) if answers is not None else None
            if found is None or answers is None:
                return None
            if self._clock() - found.at > self._max_age_seconds:
                self._drop(answers, question)
                if not answers:
                    self._forget(person)
                return None
            self._people.move_to_end(person)
            return found

    def forget(self, user_id: str) -> None:
        """Forgets all answers to a person, and remembers none of them for 30 s."""
        now = self._clock()
        with self._lock:
            if user_id in self._people:
                self._forget(user_id)
            self._forgotten.pop(user_id, None)
            self._forgotten[user_id] = now + FORGOTTEN_SECONDS
            # Never empties it: the last one is the one just put there.
            while self._forgotten[first := next(iter(self._forgotten))] <= now:
                del self._forgotten[first]

    def _is_forgotten(self, person: str | bytes) -> bool:
        until = self._forgotten.get(person)
        return until is not None and self._clock() < until

    def _drop(self, answers: dict[bytes, Remembered], question: bytes) -> None:
        dropped = answers.pop(question, None)
        if dropped is not None:
            self._byte_count -= dropped.byte_count

    def _forget(self, person: str | bytes) -> None:
        answers = self._people.pop(person)
        self._byte_count -= _person_bytes(person) + sum(entry.byte_count for entry in answers.values())


def _person_bytes(person: str | bytes) -> int:
    return _PERSON_BYTES + len(person)


def _key(request: RecommendRequest) -> tuple[str | bytes, bytes]:
    """Who asks and what; somebody without a name is their question."""
    about = (
        request.filter.conditions,
        tuple(request.interest_tags),
        request.context.surface,
        request.ranker,
        tuple(sorted(request.blend.items())) if request.blend else (),
    )
    if request.user_id:
        return request.user_id, _digest(about) if any(about) else _NOTHING_SPECIAL
    question = _digest((*about, tuple(request.recent_item_ids)))
    return question, _NOTHING_SPECIAL


def _digest(about: tuple[object, ...]) -> bytes:
    # A filter may be megabytes long, so it is not kept; nobody can make two that collide.
    return hashlib.blake2b(repr(about).encode("utf-8", "surrogatepass"), digest_size=16).digest()
