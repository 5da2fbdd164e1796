from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.person import finite
from retrieval_service.engine.query import RetrievalQuery, SimilarQuery
from retrieval_service.engine.searching import WholeSearch
from retrieval_service.engine.tag_vectors import TagVectors
from retrieval_service.engine.user_tower import UserTower
from tests.bundles import user_tower_path
from tests.unit.retrieval_service.engine.memory_index import Found, MemoryIndex
from tests.unit.retrieval_service.engine.rule import history
from twostage.bundle.row_set import RowSet
from twostage.candidates.source import Source

DAMAGED = 7


class Untouchable(MemoryIndex):
    """An index that must not be asked."""

    def search(self, vector: NDArray[np.float32], count: int, selector: RowSet | None) -> Found:
        raise AssertionError((vector, count, selector))


@pytest.fixture
def damaged(rich_engine: RetrievalEngine) -> RetrievalEngine:
    """One item's vector and all tags' are NaN, so that the tower answers NaN for a history with that item."""
    catalogue = rich_engine.catalogue
    vectors = np.array(catalogue.vectors)
    vectors[DAMAGED] = np.nan
    assert catalogue.tags is not None
    tags = TagVectors(catalogue.tags.vocabulary, np.full_like(catalogue.tags.vectors, np.nan))
    catalogue = replace(catalogue, vectors=vectors, tags=tags)
    index = Untouchable(vectors, 0, len(vectors))
    return RetrievalEngine(catalogue, UserTower(user_tower_path(), 16, 50), WholeSearch(index))


def test_what_is_no_vector_of_numbers_never_reaches_the_index(damaged: RetrievalEngine) -> None:
    with pytest.raises(FloatingPointError, match="user vector: expected 16 finite numbers, received NaN"):
        damaged.retrieve(RetrievalQuery(history(3, DAMAGED), 5))
    with pytest.raises(FloatingPointError, match="user vector"):
        damaged.user_vector(history(DAMAGED))
    with pytest.raises(FloatingPointError, match="vector of interest tags"):
        damaged.retrieve(RetrievalQuery(history(), 5, interest_tags=("poetry",)))
    with pytest.raises(FloatingPointError, match="item vector"):
        damaged.similar(SimilarQuery(DAMAGED, 5))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_is_enough(wrong: float) -> None:
    vector = np.full(8, 0.1, np.float32)
    assert finite(vector, "it") is vector
    vector[5] = wrong
    with pytest.raises(FloatingPointError, match="it: expected 8 finite numbers"):
        finite(vector, "it")


def test_neighbours_are_of_the_newest_distinct_items(rich_engine: RetrievalEngine) -> None:
    newest = [3, 5, 6, 7, 8, 9, 10, 11]
    query = RetrievalQuery(history(13, 12, 11, 10, 9, 8, 7, 5, 6, 5, 5, 3), 40, quotas={Source.NEIGHBOURS: 8})
    lists = [entry for entry in rich_engine.gather(query).lists if entry.source is Source.NEIGHBOURS]
    # Nothing is nearer to an item than itself.
    assert [(entry.group, int(entry.rows[0])) for entry in lists] == list(enumerate(newest))
    assert all(entry.wanted_count == len(entry.rows) == 8 for entry in lists)
