"""What of a person's events says something about their taste."""

from __future__ import annotations

from collections.abc import Iterable
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

    Args:
        schema: What each action means.
    """

    def __init__(self, schema: ActionSchema) -> None:
        self.schema = schema
        self._judgements = frozenset(action.source for action in schema.actions if action.min_value is not None)
        self._known: dict[tuple[str, float | None], bool] = {}

    def is_taste(self, action: str, value: float | None) -> bool:
        """Says whether an action with this value counts as taste; remembers the answer."""
        key = (action, value)
        known = self._known.get(key)
        if known is None:
            known = self.schema.is_taste(action, value)
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
        judged: set[tuple[str, str]] = set()
        for item_id, action, value, time_seconds in newest_first:
            if action in self._judgements:
                judgement = (item_id, action)
                if judgement in judged:
                    continue
                judged.add(judgement)
            if self.is_taste(action, value):
                picked.append(TasteEvent(item_id, action, value, time_seconds))
                if len(picked) == count:
                    break
        picked.reverse()
        return picked
