from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
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


def one_row_at_a_time(lists: list[SourceList], count: int) -> tuple[dict[int, int], dict[Source, dict[int, int]]]:
    """Places with their bits, in the order in which they are taken, and ranks by source."""
    by_source: dict[Source, list[SourceList]] = {}
    for entry in lists:
        by_source.setdefault(entry.source, []).append(entry)
    places: dict[int, int] = {}
    ranks: dict[Source, dict[int, int]] = {}
    for source, entries in by_source.items():
        if len(places) == count:
            break
        turns = zip_longest(*(entry.rows.tolist() for entry in entries))
        dealt = list(dict.fromkeys(row for turn in turns for row in turn if row is not None))
        for rank, row in enumerate(dealt[: entries[0].wanted_count], start=1):
            if row not in places and len(places) == count:
                break
            places[row] = places.get(row, 0) | source
            ranks.setdefault(source, {})[row] = rank
    return places, ranks


def by_place(places: dict[int, int], ranks: dict[Source, dict[int, int]]) -> list[int]:
    """The best of a row's places in the sources' lists, as fractions; what follows interest tags counts for nobody."""
    sources = list(ranks)
    if Source.INTEREST_TAGS in sources:
        sources = sources[: sources.index(Source.INTEREST_TAGS) + 1]
    best = {
        row: min((Fraction(2 * ranks[source][row] - 1, 2 * len(ranks[source])) for source in having), default=2)
        for row in places
        for having in [[source for source in sources if row in ranks[source]]]
    }
    return sorted(places, key=lambda row: best[row])


@settings(max_examples=400)
@given(lists=several_lists(), count=st.integers(1, 40), with_ranks=st.booleans())
def test_places_are_taken_as_if_one_row_came_after_another(
    lists: list[SourceList], count: int, with_ranks: bool
) -> None:
    result = blended(lists, count, with_ranks=with_ranks)
    places, ranks = one_row_at_a_time(lists, count)
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
        assert rows == by_place(places, ranks)
    told = {
        source: {row: rank for row, rank in zip(rows, column.tolist(), strict=True) if rank}
        for source, column in result.source_ranks.items()
    }
    assert {source: by_row for source, by_row in told.items() if by_row} == (ranks if with_ranks else {})
    missing_count = 0 if result.shortfall is None else result.shortfall.missing_count
    assert len(rows) + missing_count == count


def test_the_worked_example() -> None:
    trending = listed(Source.TRENDING, [7, 1], 2)
    popular = listed(Source.POPULAR, [1, 2, 3, 4, 5, 6], 6)
    result = blended([trending, popular], 6)
    assert result.rows.tolist() == [1, 7, 2, 3, 4, 5]
    both = Source.TRENDING | Source.POPULAR
    assert result.sources.tolist() == [both, Source.TRENDING, 2, 2, 2, 2]
    assert result.shortfall is None


def test_who_is_seated_by_one_source_keeps_the_rank_that_another_gives() -> None:
    """The most popular are the last of the trending: they still stand at the top."""
    trending = listed(Source.TRENDING, [*range(20, 30), 0, 1], 12)
    popular = listed(Source.POPULAR, range(20), 20)
    assert blended([trending, popular], 20).rows.tolist()[:4] == [20, 0, 21, 1]


def test_what_fills_up_stands_after_interest_tags_and_lifts_nobody() -> None:
    tagged = listed(Source.INTEREST_TAGS, [9, 5], 5)
    new = listed(Source.NEW, [20], 1)
    popular = listed(Source.POPULAR, [5, 1, 9, 2, 3, 4], 6)
    assert blended([new, tagged, popular], 5).rows.tolist() == [9, 20, 5, 1, 2]


def test_interest_tags_that_bring_nothing_leave_popularity_its_places() -> None:
    tagged = listed(Source.INTEREST_TAGS, [], 4)
    new = listed(Source.NEW, [20], 1)
    popular = listed(Source.POPULAR, [1, 9, 2], 4)
    assert blended([new, tagged, popular], 4).rows.tolist() == [1, 20, 9, 2]


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
