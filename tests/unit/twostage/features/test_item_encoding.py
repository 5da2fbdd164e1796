from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from twostage.features.item_encoding import EncodingConfig, ItemEncoder
from twostage.features.schema import FeatureSchema
from twostage.features.text import phrases, words
from twostage.features.vocabulary import Vocabulary

SCHEMA = FeatureSchema(
    title="title", text=("title",), categorical=("language",), numeric=("year",), multi_valued=("tags",), image="cover"
)
COLUMNS: dict[str, list[Any]] = {
    "title": ["The Hunger Games (The Hunger Games, #1)", "Mockingjay (The Hunger Games, #3)", None],
    "language": ["en", "EN", None],
    "year": [2008.0, 2010.0, None],
    "tags": [["fantasy", "dystopia"], ["fantasy"], None],
    "cover": [[1.0, 0.0], [0.0, 1.0], None],
}


def test_words_are_folded_and_split_at_punctuation() -> None:
    assert words("Ｔhe GRÜNE-Haus_2") == ["the", "grüne", "haus", "2"]  # noqa: RUF001 - a full-width T


def test_volumes_of_a_series_share_a_phrase() -> None:
    assert phrases("Mockingjay (The Hunger Games, #3)") == ["mockingjay", "the hunger games", "3"]


def test_prose_has_no_phrases() -> None:
    assert phrases("word, " * 100) == []


def test_vocabulary_orders_by_count_then_text_and_keeps_padding_and_buckets_apart() -> None:
    vocabulary = Vocabulary.fit([["b", "a", "a"], ["b", "c"], ["c", "b"]], min_count=2, max_size=10, bucket_count=3)
    assert vocabulary.tokens == ("b", "c")
    assert vocabulary.ids_of(["b", "c"], 3) == [4, 5, 0]
    assert vocabulary.id_of("a") in {1, 2, 3}
    assert vocabulary.size == 6


def test_a_vocabulary_without_buckets_is_refused() -> None:
    with pytest.raises(ValueError, match="bucket_count: expected at least 1, got 0"):
        Vocabulary((), 0)


def test_encoding_has_one_row_per_item_and_zeros_for_what_is_missing() -> None:
    encoder = ItemEncoder.fit(SCHEMA, COLUMNS)
    items = encoder.encode(COLUMNS)
    assert items.bag_ids.shape == (3, 2, encoder.config.bag_length)
    assert not items.word_ids[2].any()
    assert not items.bag_ids[2].any()
    np.testing.assert_allclose(items.numbers, [[-1, 0], [1, 0], [0, 1]])
    np.testing.assert_array_equal(items.images, [[1, 0], [0, 1], [0, 0]])
    assert items.category_ids[0, 0] == items.category_ids[1, 0] != items.category_ids[2, 0]


def test_books_of_a_series_share_bag_ids_and_tags_do_too() -> None:
    items = ItemEncoder.fit(SCHEMA, COLUMNS).encode(COLUMNS)
    title, tags = (set(items.bag_ids[0, f]) & set(items.bag_ids[1, f]) - {0} for f in (0, 1))
    assert len(title) >= 1
    assert len(tags) == 1


def test_a_stored_encoder_encodes_a_new_item_alike() -> None:
    encoder = ItemEncoder.fit(SCHEMA, COLUMNS, EncodingConfig(sequence_length=5))
    restored = ItemEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    new: dict[str, list[Any]] = {
        "title": ["Hunger of the Ｇames"],  # noqa: RUF001 - full width
        "language": ["xx"],
        "year": [1e9],
        "tags": [["new"]],
        "cover": [None],
    }
    for name, array in encoder.encode(new).arrays().items():
        np.testing.assert_array_equal(array, restored.encode(new).arrays()[name])
    assert encoder.encode(new).numbers[0, 0] == 8


def test_a_missing_column_is_named() -> None:
    with pytest.raises(KeyError, match="missing tags"):
        ItemEncoder.fit(SCHEMA, {name: values for name, values in COLUMNS.items() if name != "tags"})


def test_an_image_of_another_size_is_refused() -> None:
    encoder = ItemEncoder.fit(SCHEMA, COLUMNS)
    with pytest.raises(ValueError, match="cover: expected 2 numbers, got 3"):
        encoder.encode({**COLUMNS, "cover": [[1.0, 2.0, 3.0], None, None]})
