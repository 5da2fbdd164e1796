"""What an impression log says about experiments, as columns."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twostage.experiments.experiment import INTERLEAVED
from twostage.impressions.log import Log

_COLUMNS = (
    *("request_id", "user_key", "experiments", "arms", "rivals", "asked_count", "item_ids", "teams"),
    *("exploration_epsilon", "propensities", "ranking_positions"),
)
_HIT_COLUMNS = ("item_ids", "teams")
# Of most answers these are not needed, and making Python objects of them takes longest.
_NESTED = (*_HIT_COLUMNS, "propensities", "ranking_positions")


@dataclass(frozen=True)
class Hits:
    """What people did with what they were shown: an action of one kind with one shown item counts once.

    Args:
        answers: int64[H], positions among the answers.
        actions: The names of the H actions.
        positions: int64[H], where the item stood, from 0.
        teams: The arms whose ranking brought the H items; empty where none were interleaved.
    """

    answers: NDArray[np.int64]
    actions: NDArray[np.str_]
    positions: NDArray[np.int64]
    teams: NDArray[np.str_]


@dataclass(frozen=True)
class ExploredItems:
    """What stood in answers that were explored, item by item in order.

    Args:
        answers: int64[N], positions among the answers.
        positions: int64[N], where the item stood, from 0.
        propensities: float64[N], the logged probability.
        explored: bool[N], whether chance brought it.
        epsilons: float64[N], the probability with which chance had the choice.
    """

    answers: NDArray[np.int64]
    positions: NDArray[np.int64]
    propensities: NDArray[np.float64]
    explored: NDArray[np.bool_]
    epsilons: NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Answers and what was done with them; A answers of U people.

    Args:
        people: int64[A], whose each answer is, 0..U - 1; an answer of nobody in particular is a person of its own.
        people_count: U.
        unnamed_count: How many answers are of nobody in particular.
        arms: For each experiment the arm of each answer, by name; empty where it is in none.
        rivals: For each interleaved experiment its two arms.
        hits: What was done.
        explored: Of answers that were explored.
        unmatched_count: How many events name an answer that is not in the log, or an item that was not in it.
    """

    people: NDArray[np.int64]
    people_count: int
    unnamed_count: int
    arms: Mapping[str, NDArray[np.str_]]
    rivals: Mapping[str, tuple[str, str]]
    hits: Hits
    explored: ExploredItems
    unmatched_count: int

    def action_names(self) -> list[str]:
        """The actions that were done, by name."""
        return sorted(set(self.hits.actions.tolist()))

    def counts(self, action: str) -> NDArray[np.float64]:
        """float64[A], with how many of its items an action was done, for each answer."""
        chosen = self.hits.answers[self.hits.actions == action]
        return np.bincount(chosen, minlength=len(self.people)).astype(np.float64)


def read_sample(log: Log) -> Sample:
    """Reads a log.

    An event counts for the answer whose request id it names, when its item was shown there and the answer was for the
    same person.

    Raises:
        LogError: A file of the log is damaged.
    """
    reading = _Reading(log.events(["request_id", "user_key", "item_id", "action"]))
    for batch in log.impressions(_COLUMNS):
        reading.take(batch)
    return reading.sample()


class _Reading:
    def __init__(self, events: pa.Table) -> None:
        self._events: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        columns = [events.column(name).to_pylist() for name in ("request_id", "user_key", "item_id", "action")]
        for request_id, user_key, item_id, action in zip(*columns, strict=True):
            if request_id:
                self._events[request_id].add((user_key, item_id, action))
        self._event_count = sum(map(len, self._events.values()))
        self._seen: set[str] = set()
        self._person_of: dict[str, int] = {}
        self._people: list[int] = []
        self._people_count = 0
        self._unnamed_count = 0
        self._arms: dict[str, dict[int, str]] = defaultdict(dict)
        self._rivals: dict[str, str] = {}
        self._hits: list[tuple[int, str, int, str]] = []
        self._explored: list[tuple[int, int, float, bool, float]] = []

    def take(self, batch: pa.RecordBatch) -> None:
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name not in _NESTED}
        nested = {name: batch.column(name) for name in _NESTED}
        for row, request_id in enumerate(columns["request_id"]):
            if request_id in self._seen:
                continue
            self._seen.add(request_id)
            answer = len(self._people)
            user_key = columns["user_key"][row]
            self._people.append(self._person(user_key))
            arms = columns["arms"][row]
            for experiment, arm in zip(columns["experiments"][row], arms, strict=True):
                self._arms[experiment][answer] = arm
                if columns["rivals"][row] and arm == INTERLEAVED:
                    self._rivals[experiment] = columns["rivals"][row]
            done = self._events.get(request_id)
            if done:
                self._take_hits(answer, user_key, done, {name: nested[name][row].as_py() for name in _HIT_COLUMNS})
            epsilon = columns["exploration_epsilon"][row]
            if epsilon:
                self._take_explored(answer, epsilon, columns["asked_count"][row], nested, row)

    def _person(self, user_key: str) -> int:
        if user_key:
            person = self._person_of.setdefault(user_key, self._people_count)
            if person < self._people_count:
                return person
        else:
            self._unnamed_count += 1
        self._people_count += 1
        return self._people_count - 1

    def _take_hits(
        self, answer: int, user_key: str, done: set[tuple[str, str, str]], shown: Mapping[str, Sequence[str]]
    ) -> None:
        places = {item_id: place for place, item_id in enumerate(shown["item_ids"])}
        # A set's order changes from run to run.
        for whose, item_id, action in sorted(done):
            place = places.get(item_id)
            if place is not None and whose == user_key:
                self._hits.append((answer, action, place, shown["teams"][place]))

    def _take_explored(self, answer: int, epsilon: float, count: int, nested: Mapping[str, pa.Array], row: int) -> None:
        places = nested["ranking_positions"][row].as_py()
        if not all(places):
            # On a low rung nothing was explored; a remembered answer was, for another request.
            return
        for position, propensity in enumerate(nested["propensities"][row].as_py()):
            # What follows the answer's own number in the ranking is what chance may draw.
            explored = places[position] > count
            self._explored.append((answer, position, propensity, explored, epsilon))

    def sample(self) -> Sample:
        count = len(self._people)
        arms = {}
        for experiment, by_answer in sorted(self._arms.items()):
            named = np.full(count, "", dtype=f"U{max(map(len, by_answer.values()))}")
            named[list(by_answer)] = list(by_answer.values())
            arms[experiment] = named
        hits = list(zip(*self._hits, strict=True)) or [(), (), (), ()]
        explored = list(zip(*self._explored, strict=True)) or [(), (), (), (), ()]
        return Sample(
            np.array(self._people, np.int64),
            self._people_count,
            self._unnamed_count,
            arms,
            {experiment: _arm_names(text) for experiment, text in self._rivals.items()},
            Hits(
                np.array(hits[0], np.int64),
                np.array(hits[1], np.str_),
                np.array(hits[2], np.int64),
                np.array(hits[3], np.str_),
            ),
            ExploredItems(
                np.array(explored[0], np.int64),
                np.array(explored[1], np.int64),
                np.array(explored[2], np.float64),
                np.array(explored[3], np.bool_),
                np.array(explored[4], np.float64),
            ),
            self._event_count - len(self._hits),
        )


def _arm_names(rivals: str) -> tuple[str, str]:
    first, second = (rival["arm"] for rival in json.loads(rivals))
    return first, second
