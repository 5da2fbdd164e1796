from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ranking_service.engine.features import FeatureGatherer
from tests.unit.ranking_service.catalogue import candidate_table, history_table, publish, ranker_entry
from twostage.bundle.arrays import write_array
from twostage.bundle.errors import BundleCorrupt
from twostage.features import model_inputs
from twostage.features.context import Context
from twostage.features.history import History

_NOW = 1_700_000_000


def _history(count: int) -> History:
    return History(
        rows=(np.arange(count) % 60).astype(np.uint32),
        actions=np.full(count, 1, np.int32),
        values=np.full(count, np.nan, np.float32),
        times=np.full(count, _NOW - 2 * 86_400, np.int64),
    )


def test_every_input_has_the_documented_shape_and_type_and_rows() -> None:
    gatherer = FeatureGatherer(model_inputs.RANKER_INPUTS, candidate_table(), history_table())
    rows = np.array([59, 0, 7], np.uint32)
    history = _history(3)
    gathered = gatherer.gather(history, Context(time_seconds=_NOW), rows, np.array([3, 1, 2], np.float32))
    assert list(gathered) == list(model_inputs.RANKER_INPUTS)
    shapes = {name: (array.shape, array.dtype.name) for name, array in gathered.items()}
    assert shapes == {
        "history_features": ((1, 50, 3), "float32"),
        "history_mask": ((1, 50), "float32"),
        "history_actions": ((1, 50), "int32"),
        "history_values": ((1, 50), "float32"),
        "history_ages_days": ((1, 50), "float32"),
        "context": ((1, 6), "float32"),
        "candidate_features": ((3, 4), "float16"),
        "retrieval_scores": ((3,), "float32"),
    }
    table = candidate_table()
    assert gathered["candidate_features"].tolist() == [table[59].tolist(), table[0].tolist(), table[7].tolist()]
    assert gathered["history_features"][0, :3].tolist() == history_table()[:3].tolist()
    assert gathered["history_mask"][0].tolist() == [1.0] * 3 + [0.0] * 47
    assert gathered["history_ages_days"][0].tolist() == [2.0] * 3 + [0.0] * 47
    assert gathered["history_values"][0].tolist() == [0.0] * 50
    assert gathered["retrieval_scores"].tolist() == [3.0, 1.0, 2.0]
    assert gathered["context"][0, 5] == pytest.approx(math.log(4) / math.log(51))


def test_only_the_inputs_that_the_ranker_lists_are_built() -> None:
    gatherer = FeatureGatherer(["retrieval_scores", "candidate_features"], candidate_table())
    gathered = gatherer.gather(_history(2), Context(), np.array([1], np.uint32), np.array([0.5], np.float32))
    assert set(gathered) == {"retrieval_scores", "candidate_features"}


def test_the_newest_fifty_entries_are_read_oldest_first() -> None:
    gatherer = FeatureGatherer(["history_features"], candidate_table(), history_table())
    history = _history(55)
    features = gatherer.gather(history, Context(), np.array([1], np.uint32), np.zeros(1, np.float32))
    assert features["history_features"][0].tolist() == history_table()[history.rows[5:]].tolist()


def test_padding_is_zero_and_not_item_zero() -> None:
    gatherer = FeatureGatherer(["history_features"], candidate_table(), history_table())
    features = gatherer.gather(_history(0), Context(), np.array([1], np.uint32), np.zeros(1, np.float32))
    assert not features["history_features"].any()


@pytest.mark.parametrize(
    ("inputs", "history", "message"),
    [
        (["candidate_features", "weather"], None, "received weather"),
        (["history_features"], None, "history table for history_features"),
        (["history_features"], np.zeros((60, 3)), "float64"),
        (["history_features"], np.zeros(60, np.float32), r"\[60\]"),
    ],
)
def test_a_ranker_that_cannot_be_fed_is_refused(inputs: list[str], history: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureGatherer(inputs, candidate_table(), history)


def test_a_table_with_other_rows_than_the_catalogue_is_refused(store_path: Path) -> None:
    generation = publish(store_path).open()
    write_array(generation.path / "ranking/main/candidates.npy", candidate_table()[:59])
    with pytest.raises(BundleCorrupt, match=r"candidates\.npy: expected shape \(60, None\), found shape \(59, 4\)"):
        FeatureGatherer.open(generation, generation.manifest.ranker)


def test_an_unknown_input_in_the_manifest_is_refused(store_path: Path) -> None:
    generation = publish(store_path, rankers={"main": ranker_entry(inputs=["weather"])}).open()
    with pytest.raises(BundleCorrupt, match="weather"):
        FeatureGatherer.open(generation, generation.manifest.ranker)
