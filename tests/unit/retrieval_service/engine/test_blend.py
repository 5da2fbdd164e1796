from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval_service.engine.blend import Blend
from twostage.candidates.source import Source

ORDER = (Source.INCLUDED, Source.POPULAR, Source.USER_VECTOR, Source.INTEREST_TAGS)
ROWS = st.lists(st.integers(0, 25), max_size=20, unique=True)


def seated(place_count: int, quotas: dict[Source, int], brought: dict[Source, list[int]]) -> dict[int, int]:
    """The rule, one row at a time."""
    places: dict[int, int] = {}
    for source, rows in brought.items():
        for row in rows[: min(place_count, quotas.get(source, place_count))]:
            if row not in places and len(places) == place_count:
                break
            places[row] = places.get(row, 0) | source
    return places


@given(
    place_count=st.integers(1, 20),
    quotas=st.dictionaries(st.sampled_from(ORDER), st.integers(0, 20)),
    lists=st.tuples(ROWS, ROWS, ROWS, ROWS),
)
def test_places_are_taken_as_if_one_row_came_after_another(
    place_count: int, quotas: dict[Source, int], lists: tuple[list[int], ...]
) -> None:
    brought = dict(zip(ORDER, lists, strict=True))
    blend = Blend(place_count, quotas)
    for source, rows in brought.items():
        blend.bring(source, np.array(rows, np.uint32))
    rows_, bits = blend.result()
    expected = seated(place_count, quotas, brought)
    assert dict(zip(rows_.tolist(), bits.tolist(), strict=True)) == expected
    assert rows_.tolist() == list(expected)
    assert blend.free_count == place_count - len(expected)
    for source, quota in quotas.items():
        assert int(((bits & source) > 0).sum()) <= quota
