from __future__ import annotations

import pytest

from gateway.engine.trace_steps import found_step, placed_steps, popular_step, ranked_step, retrieval_order_step


@pytest.mark.parametrize(
    ("sources", "ranks", "step"),
    [
        (("user_vector", "popular"), {"user_vector": 12, "popular": 3}, "found by user_vector at 12 and popular at 3"),
        (("new",), {"new": 1}, "found by new at 1"),
        (("a", "b", "c"), {"a": 1, "b": 2, "c": 3}, "found by a at 1, b at 2 and c at 3"),
        # A source that brings no ranks.
        (("included", "popular"), {"popular": 9}, "found by included and popular at 9"),
        ((), {}, "found by no source that is known here"),
    ],
)
def test_the_sources_that_found_an_item_are_named_with_its_rank_in_each(
    sources: tuple[str, ...], ranks: dict[str, int], step: str
) -> None:
    assert found_step(sources, ranks, 500) == f"{step} of 500"


def test_the_actions_that_count_are_named_by_what_they_add() -> None:
    scores = {"rated": 0.9, "liked": 0.12, "read": 0.31, "bought": 0.05}
    assert ranked_step(4, scores, {"read": 1.0, "liked": 1.0}) == "ranked 4 by read 0.31, liked 0.12"
    assert (
        ranked_step(1, scores, {"bought": 100.0, "liked": 1.0, "rated": 0.0}) == "ranked 1 by bought 0.05, liked 0.12"
    )
    assert ranked_step(2, {}, {"liked": 1.0}) == "ranked 2"


def test_moves_are_told_with_their_causes_and_standing_still_is_not() -> None:
    assert placed_steps(4, 2, pinned=False, causes=["diversity"]) == ["moved from 4 to 2 by diversity"]
    assert placed_steps(4, 2, pinned=False, causes=["diversity", "caps", "pins"]) == [
        "moved from 4 to 2 by diversity, caps and pins"
    ]
    assert placed_steps(4, 2, pinned=False, causes=[]) == ["moved from 4 to 2"]
    assert placed_steps(2, 2, pinned=False, causes=["diversity"]) == []
    assert placed_steps(0, 2, pinned=False, causes=["diversity"]) == []
    assert placed_steps(9, 1, pinned=True, causes=["diversity"]) == ["pinned to 1"]
    assert placed_steps(1, 1, pinned=True, causes=[]) == ["pinned to 1"]


def test_what_stands_in_for_a_stage_is_said() -> None:
    assert retrieval_order_step(3, 0.41249) == "ordered 3 by retrieval score 0.412, without ranking"
    assert popular_step(1234.0) == "taken for its popularity of 1234, without retrieval"
