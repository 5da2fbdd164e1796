from __future__ import annotations

import pytest

from benchmarks.whole.answers import COUNT, Answer, Asked, is_consistent, is_exact, noted

ITEMS = [f"item-{position}" for position in range(COUNT)]
ASKED = Asked("somebody", frozenset({"seen-1", "seen-2"}))


def test_a_full_list_of_distinct_unseen_items_is_exact() -> None:
    assert is_exact(ASKED, Answer(ITEMS))
    assert is_exact(ASKED, Answer(ITEMS), allowed=frozenset([*ITEMS, "another"]))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(ITEMS[:-1], missing_count=1),
        Answer(ITEMS[:-1]),
        Answer([*ITEMS, "one too many"]),
        Answer([*ITEMS[:-1], ITEMS[0]]),
        Answer([*ITEMS[:-1], "seen-1"]),
        Answer(ITEMS, missing_count=1),
    ],
    ids=["short and told", "short and silent", "long", "repeated", "seen", "full and yet missing"],
)
def test_what_is_short_long_repeated_or_seen_is_not_exact(answer: Answer) -> None:
    assert not is_exact(ASKED, answer)


def test_an_item_that_the_filter_forbids_makes_an_answer_inexact() -> None:
    assert not is_exact(ASKED, Answer(ITEMS), allowed=frozenset(ITEMS[1:]))


def test_an_answer_is_consistent_when_what_came_and_what_is_missing_add_up() -> None:
    assert is_consistent(Answer(ITEMS))
    assert is_consistent(Answer(ITEMS[:3], missing_count=COUNT - 3))
    assert not is_consistent(Answer(ITEMS[:3]))


def test_what_is_kept_of_an_answer_says_rung_and_generation() -> None:
    kept = noted(ASKED, Answer(ITEMS, rung="RUNG_CACHED", generation=7), 3.0, 0.25)
    assert kept == (3.0, 0.25, True, True, "RUNG_CACHED", 7)
