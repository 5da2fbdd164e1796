"""What of a person's events says something about their taste."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from twostage.features.actions import ActionSchema

# Distinct (action, value) pairs are few (stars, a handful of names); a flood of odd values must not grow the process.
_MAX_REMEMBERED = 4096


class TasteEvent(NamedTuple):
    """One event of a person.

    Args:
        item_id: With what.
        action: The recorded action's name.
        value: E.g. stars; None where the action has none.
        time_seconds: Unix seconds, 0 when unknown.
    """

    item_id: str
    action: str
    value: float | None
    time_seconds: int


class TasteRule:
    """Picks the events that enter the history which the stages read.

    A judgement replaces earlier ones: who gave five stars and then two has not two opinions. Judgements are the
    recorded actions of which the schema derives an action by a least value; other actions, e.g. purchases, may
    repeat.

    An action of weight 1, as all have unless told otherwise, takes as many places as it has events: the newest events
    are the history, as in training. One of weight w below 1 takes at most w of the places, and at least one, while
    there are other events to take the rest, so that a hundred passing views leave room for the few purchases before
    them; places that nobody else takes go to the newest of its events that were held back. Weight 0 is no taste at all.

    Args:
        schema: What each action means.
        weights: Recorded actions' names to weights, 0..1; 1 for those not named.

    Raises:
        ValueError: A weight is outside its bounds.
    """

    def __init__(self, schema: ActionSchema, weights: Mapping[str, float] | None = None) -> None:
        self.schema = schema
        self._weights = {name: weight for name, weight in (weights or {}).items() if weight != 1}
        for name, weight in self._weights.items():
            if not 0 <= weight <= 1:
                raise ValueError(f"the weight of {name!r} in the taste: expected 0 to 1, received {weight!r}")
        self._judgements = frozenset(action.source for action in schema.actions if action.min_value is not None)
        self._known: dict[tuple[str, float | None], bool] = {}

    def is_taste(self, action: str, value: float | None) -> bool:
        """Says whether an action with this value counts as taste; remembers the answer."""
        key = (action, value)
        known = self._known.get(key)
        if known is None:
            known = self.schema.is_taste(action, value) and self._weights.get(action, 1.0) > 0
            if len(self._known) < _MAX_REMEMBERED:
                self._known[key] = known
        return known

    def newest(self, newest_first: Iterable[tuple[str, str, float | None, int]], count: int) -> list[TasteEvent]:
        """The newest events that say something about taste.

        Args:
            newest_first: A person's events, columns as in :class:`TasteEvent`; read no further than needed.
            count: How many are wanted.

        Returns:
            At most ``count`` events, oldest first.
        """
        picked: list[TasteEvent] = []
        if count <= 0:
            return picked
        room = {action: max(1, math.floor(weight * count)) for action, weight in self._weights.items()}
        # Events that found no room, each with how many were picked before it.
        held_back: list[tuple[int, TasteEvent]] = []
        judged: set[tuple[str, str]] = set()
        judgements, answers = self._judgements, self._known
        for item_id, action, value, time_seconds in newest_first:
            if action in judgements:
                judgement = (item_id, action)
                if judgement in judged:
                    continue
                judged.add(judgement)
            counts = answers.get((action, value))
            # A call for each of a person's events would take a third of this.
            if counts or (counts is None and self.is_taste(action, value)):
                event = TasteEvent(item_id, action, value, time_seconds)
                if action in room:
                    if not room[action]:
                        if len(held_back) < count:
                            held_back.append((len(picked), event))
                        continue
                    room[action] -= 1
                picked.append(event)
                if len(picked) == count:
                    break
        else:
            # Places are left. From the back, so that the positions before stay what they are.
            for position, event in reversed(held_back[: count - len(picked)]):
                picked.insert(position, event)
        picked.reverse()
        return picked
