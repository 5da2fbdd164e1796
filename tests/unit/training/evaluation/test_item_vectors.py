from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from training.evaluation.item_vectors import content_vectors
from twostage.features.schema import FeatureSchema

from .conftest import MakeDataset


def test_shared_values_weigh_by_their_rarity(make_dataset: MakeDataset) -> None:
    catalogue = make_dataset([], 6).catalogue
    products = (vectors := content_vectors(catalogue).toarray()) @ vectors.T
    # Genres halve the six items and the t-tags third them; everybody has the tag "all", so it weighs nothing.
    assert products[0, 2] == pytest.approx(math.log(2) ** 2)
    assert products[0, 3] == pytest.approx(math.log(3) ** 2)
    assert products[0, 1] == 0
    assert products[0, 0] == pytest.approx(math.log(2) ** 2 + math.log(3) ** 2)


def test_a_catalogue_of_titles_is_told_apart_by_words(make_dataset: MakeDataset) -> None:
    catalogue = make_dataset([], 4).catalogue
    catalogue = replace(catalogue, schema=FeatureSchema(title="title", text=("title",)))
    products = (vectors := content_vectors(catalogue).toarray()) @ vectors.T
    assert products == pytest.approx(np.eye(4) * math.log(4) ** 2)


def test_items_without_values_have_empty_rows(make_dataset: MakeDataset) -> None:
    catalogue = make_dataset([], 2).catalogue
    missing = catalogue.columns.slice(0, 0).schema.empty_table()
    columns = type(missing).from_pylist([{"title": None}, {"title": "Ants"}], schema=missing.schema)
    vectors = content_vectors(replace(catalogue, columns=columns))
    assert vectors.shape == (2, 1)
    assert vectors.nnz == 0
