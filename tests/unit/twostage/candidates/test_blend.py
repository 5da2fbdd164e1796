from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twostage.candidates.blend import Blended, blend
from twostage.candidates.shortfall import Shortfall, ShortfallReason
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList

MOST_ROWS = 30
SOURCES = list(Source)


def listed(
    source: Source, rows: Sequence[int], wanted_count: int, *, scored: bool = False, group: int = 0
) -> SourceList:
    """A list; a row's score, where there are scores, is the same wherever it comes from."""
    array = np.array(rows, np.uint32)
    scores = (array * 7 % 11 - 5.0).astype(np.float32) if scored else np.zeros(len(array), np.float32)
    return SourceList(source, array, scores, wanted_count, group=group)


def blended(lists: list[SourceList], count: int, *, with_ranks: bool = False) -> Blended:
    return blend(lists, count, item_count=MOST_ROWS, allowed_count=MOST_ROWS, with_ranks=with_ranks)


@st.composite
def several_lists(draw: st.DrawFn) -> list[SourceList]:
    scored = draw(st.booleans())
    lists = []
    for source in draw(st.permutations(SOURCES))[: draw(st.integers(0, 5))]:
        wanted_count = draw(st.integers(1, 20))
        rows = st.lists(st.integers(0, MOST_ROWS - 1), max_size=wanted_count, unique=True)
        group_count = draw(st.integers(1, 3))
        lists += [listed(source, draw(rows), wanted_count, scored=scored, group=group) for group in range(group_count)]
    return lists


def one_row_at_a_time(
    lists: list[SourceList], count: int
) -> tuple[dict[int, int], dict[Source, dict[int, int]], list[tuple[Source, list[int]]]]:
    """Places with their bits, ranks by source, and the rows that each source seated first."""
    by_source: dict[Source, list[SourceList]] = {}
    for entry in lists:
        by_source.setdefault(entry.source, []).append(entry)
    places: dict[int, int] = {}
    ranks: dict[Source, dict[int, int]] = {}
    firsts = []
    for source, entries in by_source.items():
        if len(places) == count:
            break
        turns = zip_longest(*(entry.rows.tolist() for entry in entries))
        dealt = list(dict.fromkeys(row for turn in turns for row in turn if row is not None))
        own = []
        for rank, row in enumerate(dealt[: entries[0].wanted_count], start=1):
            if row not in places:
                if len(places) == count:
                    break
                own.append(row)
            places[row] = places.get(row, 0) | source
            ranks.setdefault(source, {})[row] = rank
        firsts.append((source, own))
    return places, ranks, firsts


def spread_evenly(firsts: list[tuple[Source, list[int]]]) -> list[int]:
    firsts = [(source, own) for source, own in firsts if own]
    sources = [source for source, _ in firsts]
    leader = Source.INTEREST_TAGS if Source.INTEREST_TAGS in sources else Source.POPULAR
    led = firsts[: sources.index(leader) + 1] if leader in sources else firsts
    spread = [((number + 0.5) / len(own), row) for _, own in led for number, row in enumerate(own)]
    filling = [row for _, own in firsts[len(led) :] for row in own]
    return [row for _, row in sorted(spread, key=lambda place: place[0])] + filling


@settings(max_examples=400)
@given(lists=several_lists(), count=st.integers(1, 40), with_ranks=st.booleans())
def test_places_are_taken_as_if_one_row_came_after_another(
    lists: list[SourceList], count: int, with_ranks: bool
) -> None:
    result = blended(lists, count, with_ranks=with_ranks)
    places, ranks, firsts = one_row_at_a_time(lists, count)
    rows = result.rows.tolist()
    assert dict(zip(rows, result.sources.tolist(), strict=True)) == places
    assert result.sources.dtype == np.uint16
    scored = any(entry.scores.any() for entry in lists)
    score = {row: row * 7 % 11 - 5.0 if scored else 0.0 for row in places}
    assert result.scores.tolist() == [score[row] for row in rows]
    if any(score.values()):
        # A user vector's list comes in the order of its scores; any other is put in it.
        alone = (
            len(lists) == 1 and lists[0].source is Source.USER_VECTOR and len(lists[0].rows) <= count and not with_ranks
        )
        assert rows == (list(places) if alone else sorted(places, key=lambda row: (-score[row], row)))
    else:
        assert rows == spread_evenly(firsts)
    told = {
        source: {row: rank for row, rank in zip(rows, column.tolist(), strict=True) if rank}
        for source, column in result.source_ranks.items()
    }
    assert {source: by_row for source, by_row in told.items() if by_row} == (ranks if with_ranks else {})
    missing_count = 0 if result.shortfall is None else result.shortfall.missing_count
    assert len(rows) + missing_count == count


def test_the_worked_example() -> None:
    trending = listed(Source.TRENDING, [7, 8], 2)
    popular = listed(Source.POPULAR, [1, 7, 2, 3, 4, 5], 6)
    result = blended([trending, popular], 6)
    assert result.rows.tolist() == [1, 7, 2, 3, 8, 4]
    both = Source.TRENDING | Source.POPULAR
    assert result.sources.tolist() == [2, both, 2, 2, Source.TRENDING, 2]
    assert result.shortfall is None


def test_what_fills_up_stands_after_what_leads() -> None:
    tagged = listed(Source.INTEREST_TAGS, [9, 5], 5)
    new = listed(Source.NEW, [20], 1)
    popular = listed(Source.POPULAR, [1, 9, 2, 3, 4], 5)
    assert blended([new, tagged, popular], 5).rows.tolist() == [9, 20, 5, 1, 2]


def test_a_lone_list_is_the_answer_as_it_is() -> None:
    near = listed(Source.USER_VECTOR, [4, 2, 6], 3, scored=True)
    result = blended([near], 3)
    assert result.rows is near.rows
    assert result.scores is near.scores
    assert result.sources.tolist() == [1, 1, 1]


def test_a_lone_list_of_another_order_is_put_in_the_scores_order() -> None:
    popular = listed(Source.POPULAR, [0, 3, 1], 3, scored=True)
    assert blended([popular], 3).rows.tolist() == [3, 1, 0]


def test_no_list_is_a_shortfall() -> None:
    result = blend([], 5, item_count=9, allowed_count=0)
    assert len(result.rows) == len(result.scores) == len(result.sources) == 0
    assert result.shortfall == Shortfall(5, ShortfallReason.EXCLUDED)
