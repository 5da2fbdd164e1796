"""A bundle that a program from before rankers were asked by rows wrote serves for ever, and by value.

``tests/golden/format-1.tar.gz`` is a store of 24 items written by the code of commit 59fdc6e with tests/bundles.py. Its
golden rankings were computed in NumPy; it has no SavedModel, for which the formula below stands.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ranking_service.engine.engine import RankingEngine
from ranking_service.engine.golden import check_golden
from ranking_service.loading import open_verified, warm_up
from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import check_golden as check_retrieval
from twostage.bundle.histories import histories_folder, read_histories
from twostage.bundle.open_store import open_store
from twostage.bundle.store import Store

_ARCHIVE = Path(__file__).parents[2] / "golden" / "format-1.tar.gz"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("earlier")
    with tarfile.open(_ARCHIVE) as archive:
        # The first releases of Python 3.11 know no filters.
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(path, **safely)  # noqa: S202 - our own file
    return open_store(str(path))


class _Formula:
    """The ranker of tests/tiny_models.py in NumPy."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, ...]] = set()

    def score(
        self, model: str, version: int, inputs: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> NDArray[Any]:
        del model, version, timeout_seconds
        self.asked.add(tuple(inputs))
        entries, mask, candidates, scores = (np.asarray(array, np.float64) for array in inputs.values())
        user = (entries[0] * mask[0][:, None]).sum(axis=0) / max(mask.sum(), 1)
        logits = (candidates[:, :-1] @ user)[:, None] * [2.0, 4.0, 1.0] + scores[:, None] * [0.5, 1.0, 3.0]
        logits += candidates[:, -1:] + [-0.5, -1.5, -2.5]
        scores_by_action: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return scores_by_action


def test_it_ranks_by_value_as_it_did(store: Store) -> None:
    engine, scorer = RankingEngine.open(open_verified(store, 1)), _Formula()
    assert engine.ranker().row_inputs is None
    warm_up(engine, scorer)
    assert check_golden(engine, scorer) == 3
    assert scorer.asked == {("history_features", "history_mask", "candidate_features", "retrieval_scores")}


def test_it_is_retrieved_from_as_it_was(store: Store) -> None:
    generation = store.open(1)
    assert check_retrieval(RetrievalEngine.open(generation), generation) == 6


def test_its_peoples_histories_are_read(store: Store) -> None:
    people = list(read_histories(histories_folder(store, 1)))
    assert [person.user_id for person in people] == ["user-0", "user-1", "user-2"]
    assert [len(person.item_ids) for person in people] == [3, 1, 0]
