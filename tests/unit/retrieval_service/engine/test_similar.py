from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import SimilarQuery
from tests.bundles import TinyCatalogue
from tests.unit.retrieval_service.engine.rule import ITEM_COUNT, ROW, Rule, array, filters
from twostage.bundle.filters import Condition, Filter
from twostage.candidates.shortfall import Shortfall, ShortfallReason
from twostage.candidates.source import Source
from twostage.errors import InvalidField


@settings(max_examples=150, deadline=None)
@given(data=st.data(), row=ROW, count=st.integers(1, 260), excluded=st.lists(ROW, max_size=190))
def test_similar_items_are_the_nearest_that_are_left(
    engine: RetrievalEngine, items: TinyCatalogue, data: st.DataObject, row: int, count: int, excluded: list[int]
) -> None:
    condition_filter = data.draw(filters())
    found = engine.similar(SimilarQuery(row, count, array(excluded), condition_filter))
    scores = items.vectors.astype(np.float64) @ items.vectors[row]
    allowed = Rule(items, engine, None).allowed(array([*excluded, row]), condition_filter)
    expected = sorted(allowed, key=lambda other: (-scores[other], other))[:count]
    assert row not in found.rows
    np.testing.assert_allclose(found.scores, scores[expected], atol=1e-6)
    assert set(found.rows.tolist()) <= set(allowed)
    assert len(set(found.rows.tolist())) == len(expected)
    missing_count = 0 if found.shortfall is None else found.shortfall.missing_count
    assert len(found.rows) + missing_count == count
    assert set(found.sources.tolist()) <= {Source.NEIGHBOURS}


def test_what_is_missing_is_explained_without_counting_the_item_itself(engine: RetrievalEngine) -> None:
    assert engine.similar(SimilarQuery(5, ITEM_COUNT - 1)).shortfall is None
    too_small = engine.similar(SimilarQuery(5, ITEM_COUNT)).shortfall
    excluded = engine.similar(SimilarQuery(5, ITEM_COUNT - 1, array([1, 1]))).shortfall
    assert too_small == Shortfall(1, ShortfallReason.CATALOGUE_TOO_SMALL)
    assert excluded == Shortfall(1, ShortfallReason.EXCLUDED)


def test_a_wrong_filter_is_refused(engine: RetrievalEngine) -> None:
    with pytest.raises(InvalidField, match="filter"):
        engine.similar(SimilarQuery(5, 3, filter=Filter((Condition("publisher", any_of=("x",)),))))
