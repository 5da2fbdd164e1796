from __future__ import annotations

from collections.abc import Iterator

from gateway.engine.taste import TasteEvent, TasteRule
from tests.unit.gateway.catalogue import SCHEMA


def newest(events: list[tuple[str, str, float | None]], count: int = 50) -> list[str]:
    newest_first = [TasteEvent(item, action, value, 0) for item, action, value in reversed(events)]
    return [event.item_id for event in TasteRule(SCHEMA).newest(newest_first, count)]


def test_dislikes_are_no_taste() -> None:
    assert newest([("a", "rated", 5.0), ("b", "rated", 2.0), ("c", "to_read", None), ("d", "rated", None)]) == [
        "a",
        "c",
    ]


def test_the_newest_are_kept_and_stand_oldest_first() -> None:
    assert newest([(str(i), "to_read", None) for i in range(10)], 3) == ["7", "8", "9"]


def test_no_more_events_are_read_than_needed() -> None:
    def endless() -> Iterator[TasteEvent]:
        while True:
            yield TasteEvent("a", "to_read", None, 0)

    assert len(TasteRule(SCHEMA).newest(endless(), 5)) == 5
    assert TasteRule(SCHEMA).newest(endless(), 0) == []


def test_a_later_judgement_replaces_an_earlier_one() -> None:
    assert newest([("a", "rated", 5.0), ("b", "rated", 5.0), ("a", "rated", 1.0)]) == ["b"]
    assert newest([("a", "rated", 1.0), ("b", "rated", 5.0), ("a", "rated", 4.0)]) == ["b", "a"]


def test_other_actions_may_repeat_and_are_not_undone_by_a_judgement() -> None:
    assert newest([("a", "to_read", None), ("b", "to_read", None), ("a", "to_read", None)]) == ["a", "b", "a"]
    assert newest([("a", "to_read", None), ("a", "rated", 1.0)]) == ["a"]


def test_a_flood_of_distinct_values_is_answered_without_remembering_it() -> None:
    rule = TasteRule(SCHEMA)
    assert all(rule.is_taste("rated", 4.0 + i / 10_000) for i in range(10_000))
    assert len(rule._known) <= 4096
