from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def by_weights(events: list[tuple[str, str, float | None]], weights: dict[str, float], count: int) -> list[int]:
    """Which events of a list, oldest first, are the history: worked out place by place, however slowly."""
    judgements: set[tuple[str, str]] = set()
    candidates: list[int] = []
    for position in reversed(range(len(events))):
        item, action, value = events[position]
        if action == "rated":
            if (item, action) in judgements:
                continue
            judgements.add((item, action))
        liked = action in {"to_read", "liked"} or (action == "rated" and value is not None and value >= 4.0)
        if liked and weights.get(action, 1.0) > 0:
            candidates.append(position)
    kept: list[int] = []
    for position in candidates:
        action = events[position][1]
        weight = weights.get(action, 1.0)
        most = count if weight == 1 else max(1, int(weight * count))
        if len(kept) < count and sum(events[other][1] == action for other in kept) < most:
            kept.append(position)
    for position in candidates:
        if position not in kept and len(kept) < count:
            kept.append(position)
    return sorted(kept)


_event = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from(["rated", "to_read", "liked", "unheard of"]),
    st.sampled_from([None, 1.0, 4.0, 5.0]),
)


@given(
    events=st.lists(_event, max_size=40),
    weights=st.dictionaries(
        st.sampled_from(["rated", "to_read", "liked"]), st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0])
    ),
    count=st.integers(0, 12),
)
def test_weights_share_the_places_as_a_slow_reading_of_the_rule_does(
    events: list[tuple[str, str, float | None]], weights: dict[str, float], count: int
) -> None:
    newest_first = [(item, action, value, time) for time, (item, action, value) in enumerate(events)][::-1]
    picked = TasteRule(SCHEMA, weights).newest(newest_first, count)
    assert [event.time_seconds for event in picked] == by_weights(events, weights, count)


def test_many_light_events_leave_room_for_few_heavy_ones() -> None:
    events = [("bought", "liked", None), *((f"viewed-{i}", "to_read", None) for i in range(100))]
    newest_first = [TasteEvent(item, action, value, 0) for item, action, value in reversed(events)]
    light = TasteRule(SCHEMA, {"to_read": 0.2}).newest(newest_first, 10)
    assert [event.item_id for event in light] == ["bought", *(f"viewed-{i}" for i in range(91, 100))]
    assert "bought" not in [event.item_id for event in TasteRule(SCHEMA).newest(newest_first, 10)]


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_a_weight_outside_its_bounds_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="'rated' in the taste: expected 0 to 1"):
        TasteRule(SCHEMA, {"rated": weight})


@pytest.mark.parametrize(
    ("weight", "count", "most"), [(0.3, 5, 1), (0.5, 5, 2), (0.01, 5, 1), (0.99, 5, 4), (1.0, 5, 5)]
)
def test_a_weight_is_rounded_down_and_to_one_at_least(weight: float, count: int, most: int) -> None:
    newest_first = [TasteEvent("i", action, None, 0) for action in ["to_read"] * 10 + ["liked"] * 10]
    picked = TasteRule(SCHEMA, {"to_read": weight}).newest(newest_first, count)
    assert [event.action for event in picked] == ["liked"] * (count - most) + ["to_read"] * most
