"""The item table inside a model: the same scores by rows as by features, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.unit.training.ranker.made_examples import made_items
from tests.unit.training.ranker.made_rankers import made_ranker, made_requests
from training.ranker.export import WARM_UP_FILE, export_ranker, ranker_tables, request_inputs, row_inputs
from training.ranker.families.ranker import Ranker, UserBatch
from training.ranker.families.registry import FAMILIES
from training.ranker.item_table import MAX_AUTO_BYTES, ItemTable, item_table_bytes, rankers_with_table


def _by_value(model: Ranker, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    names = ("history_features", "history_mask", "history_actions", "history_values", "history_ages_days", "context")
    user = UserBatch(*(tf.constant(inputs[name]) for name in names))
    side = model.encode_user(user).single()
    features = tf.cast(inputs["candidate_features"], tf.float32)
    scores: NDArray[np.float32] = model.score(side, features, tf.constant(inputs["retrieval_scores"])).numpy()
    return scores


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_the_table_score_as_the_features_themselves(family: str) -> None:
    items, model = made_items(), made_ranker(family)
    tables = ranker_tables(model, items)
    requests, candidates = made_requests(items, 2)
    table = ItemTable(model, tables)
    for person in range(2):
        inputs = row_inputs(requests, candidates, person)
        user, features, retrieval_scores = table.read(*(tf.constant(inputs[name]) for name in table.specs()))
        scores = model.score(model.encode_user(user).single(), features, retrieval_scores).numpy()
        expected = _by_value(model, request_inputs(tables, requests, candidates, person))
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        np.testing.assert_array_equal(np.argsort(-scores, axis=0), np.argsort(-expected, axis=0))


def test_an_exported_model_answers_by_row_in_the_tables_precision_and_is_warmed_both_ways(tmp_path: Path) -> None:
    items, model = made_items(), made_ranker("content")
    tables = ranker_tables(model, items, "float16")
    requests, candidates = made_requests(items, 3)
    path = tmp_path / "1"
    export_ranker(model, path, items, tables, requests.first(2), candidates, model_name="made", version=1, by_row=True)
    loaded = tf.saved_model.load(str(path))
    inputs = [request_inputs(tables, requests, candidates, 2), row_inputs(requests, candidates, 2)]
    by_value, by_row = (
        loaded.signatures[name](**{key: tf.constant(array) for key, array in one.items()})["action_scores"].numpy()
        for name, one in zip(("serving_default", "by_row"), inputs, strict=True)
    )
    np.testing.assert_allclose(by_row, by_value, atol=1e-6)
    wrong = {**inputs[1], "candidate_rows": np.array([200], np.int32), "retrieval_scores": np.zeros(1, np.float32)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in \\[0, 200\\)"):
        loaded.signatures["by_row"](**{key: tf.constant(array) for key, array in wrong.items()})
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    halves = [shapes[name] for name, dtype in dtypes.items() if dtype == tf.float16]
    assert sum(2 * rows * width for rows, width in halves) == item_table_bytes(model, 200, "float16")
    records = [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(path / WARM_UP_FILE))]
    assert [b"candidate_rows" in record for record in records] == [False, True] * 2


def test_the_table_stays_out_of_a_model_that_is_fed_features(tmp_path: Path) -> None:
    items, model = made_items(), made_ranker("content")
    requests, candidates = made_requests(items, 1)
    path = tmp_path / "1"
    export_ranker(model, path, items, ranker_tables(model, items), requests, candidates, model_name="made", version=1)
    assert "by_row" not in tf.saved_model.load(str(path)).signatures


def test_the_default_ranker_comes_first_where_not_all_tables_have_room() -> None:
    third = MAX_AUTO_BYTES // 3
    sizes = {"content": third, "din": third, "esmm": 2 * third, "nfm": 1}
    assert rankers_with_table("auto", sizes) == {"content", "din"}
    assert rankers_with_table("auto", {"content": MAX_AUTO_BYTES + 1, "din": 1}) == frozenset()
    assert rankers_with_table("model", sizes) == set(sizes)
    assert rankers_with_table("request", sizes) == frozenset()
    with pytest.raises(ValueError, match="expected one of auto, model, request, got 'disk'"):
        rankers_with_table("disk", sizes)
