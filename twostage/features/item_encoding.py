"""An item's content as the arrays that the item tower reads, in training and when an item is upserted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.features.schema import FeatureSchema
from twostage.features.text import normalise, phrases, words
from twostage.features.vocabulary import Vocabulary

Columns = Mapping[str, Sequence[Any]]
"""Column name to one value per item: str, float, list of str or of float by the column's kind, None when unknown."""


@dataclass(frozen=True)
class EncodingConfig:
    """Sizes of an item encoding.

    Args:
        sequence_length: Words of an item that the text tower reads in order at most; a fitted encoder reads fewer
            when hardly any item has so many.
        bag_length: Tokens of one column that its bag holds.
        min_word_count: In how many items a word must occur to have an id of its own.
        max_word_count: How many words have ids of their own at most.
        max_bag_count: How many bag tokens (phrases, whole values, words) have ids of their own at most.
        bucket_count: How many ids unknown tokens share, in each vocabulary.
    """

    sequence_length: int = 24
    bag_length: int = 16
    min_word_count: int = 2
    max_word_count: int = 30_000
    max_bag_count: int = 60_000
    bucket_count: int = 64


@dataclass(frozen=True)
class EncodedItems:
    """N items as arrays.

    Args:
        word_ids: int32[N, sequence_length], words in the order of the columns, each column after its own marker.
        bag_ids: int32[N, F, bag_length], one bag per text and multi-valued column, order without meaning.
        category_ids: int32[N, C], one per categorical column.
        numbers: float32[N, 2 M]: each numeric column standardised, then for each 1 where it is missing.
        images: float32[N, I], zeros where missing; I is 0 without an image column.
    """

    word_ids: NDArray[np.int32]
    bag_ids: NDArray[np.int32]
    category_ids: NDArray[np.int32]
    numbers: NDArray[np.float32]
    images: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of items."""
        return len(self.word_ids)

    def take(self, rows: NDArray[np.integer]) -> EncodedItems:
        """The items at these positions."""
        return EncodedItems(
            self.word_ids[rows], self.bag_ids[rows], self.category_ids[rows], self.numbers[rows], self.images[rows]
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by the names under which the item tower reads them."""
        return {
            "word_ids": self.word_ids,
            "bag_ids": self.bag_ids,
            "category_ids": self.category_ids,
            "numbers": self.numbers,
            "images": self.images,
        }


@dataclass(frozen=True)
class ItemEncoder:
    """A fitted encoding: the same content gives the same arrays, today and in any later process.

    Args:
        schema: What each column is.
        config: The encoding's sizes.
        words: Vocabulary of the word sequence.
        bag: Vocabulary of the bags.
        categories: One vocabulary per categorical column.
        means: The numeric columns' means over the items it was fitted on.
        scales: Their standard deviations, 1 where that is 0.
        image_size: The image embedding's size, 0 without one.
    """

    schema: FeatureSchema
    config: EncodingConfig
    words: Vocabulary
    bag: Vocabulary
    categories: tuple[Vocabulary, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    image_size: int

    @classmethod
    def fit(cls, schema: FeatureSchema, columns: Columns, config: EncodingConfig | None = None) -> ItemEncoder:
        """Fits vocabularies and scales on the content of the items that training may see.

        Args:
            schema: What each column is.
            columns: The items' content; every column of the schema must be there.
            config: The sizes; defaults when None.

        Raises:
            KeyError: A column of the schema is missing.
        """
        config = config or EncodingConfig()
        count = _check(schema, columns)
        sequences = [_sequence(schema, columns, position) for position in range(count)]
        bags = [[t for bag in _bags(schema, columns, position) for t in bag] for position in range(count)]
        categories = tuple(
            Vocabulary.fit(
                ([_category(value)] for value in columns[name]), min_count=2, max_size=10_000, bucket_count=8
            )
            for name in schema.categorical
        )
        means, scales = [], []
        for name in schema.numeric:
            known = np.array([v for v in columns[name] if v is not None and np.isfinite(v)], np.float64)
            means.append(float(known.mean()) if len(known) else 0.0)
            scales.append(float(known.std()) or 1.0 if len(known) else 1.0)
        image_size = 0
        if schema.image is not None:
            image_size = next((len(image) for image in columns[schema.image] if image is not None), 0)
        lengths = [len(sequence) for sequence in sequences] or [1]
        usual = int(np.percentile(lengths, 95)) + 1
        return cls(
            schema=schema,
            config=replace(config, sequence_length=max(1, min(config.sequence_length, usual))),
            words=Vocabulary.fit(
                sequences,
                min_count=config.min_word_count,
                max_size=config.max_word_count,
                bucket_count=config.bucket_count,
            ),
            # A phrase that one item alone bears still has an id: it lets the tower learn what sets that item
            # apart, and token dropout teaches the tower to do without.
            bag=Vocabulary.fit(bags, min_count=1, max_size=config.max_bag_count, bucket_count=config.bucket_count),
            categories=categories,
            means=tuple(means),
            scales=tuple(scales),
            image_size=image_size,
        )

    @property
    def bag_count(self) -> int:
        """The number of bags an item has."""
        return len(_bag_columns(self.schema))

    def encode(self, columns: Columns) -> EncodedItems:
        """Encodes items.

        Args:
            columns: The items' content, as in :meth:`fit`.

        Raises:
            KeyError: A column of the schema is missing.
            ValueError: An image has another size than those the encoder was fitted on.
        """
        count = _check(self.schema, columns)
        config = self.config
        word_ids = np.zeros((count, config.sequence_length), np.int32)
        bag_ids = np.zeros((count, self.bag_count, config.bag_length), np.int32)
        for position in range(count):
            sequence = _sequence(self.schema, columns, position)
            word_ids[position] = self.words.ids_of(sequence, config.sequence_length)
            for field, bag in enumerate(_bags(self.schema, columns, position)):
                bag_ids[position, field] = self.bag.ids_of(bag, config.bag_length)
        category_ids = np.zeros((count, len(self.categories)), np.int32)
        for field, (name, vocabulary) in enumerate(zip(self.schema.categorical, self.categories, strict=True)):
            category_ids[:, field] = [vocabulary.id_of(_category(value)) for value in columns[name]]
        return EncodedItems(word_ids, bag_ids, category_ids, self._numbers(columns), self._images(columns, count))

    def _numbers(self, columns: Columns) -> NDArray[np.float32]:
        scaled, missing = [], []
        for name, mean, scale in zip(self.schema.numeric, self.means, self.scales, strict=True):
            values = np.array([np.nan if value is None else value for value in columns[name]], np.float64)
            unknown = ~np.isfinite(values)
            # Beyond eight deviations stand typing errors, which must not drown the other inputs.
            scaled.append(np.clip(np.where(unknown, 0.0, (values - mean) / scale), -8, 8))
            missing.append(unknown)
        count = len(columns[self.schema.title])
        return np.array(scaled + missing, np.float32).reshape(2 * len(self.means), count).T.copy()

    def _images(self, columns: Columns, count: int) -> NDArray[np.float32]:
        images = np.zeros((count, self.image_size), np.float32)
        if self.schema.image is None or self.image_size == 0:
            return images
        for position, image in enumerate(columns[self.schema.image]):
            if image is None:
                continue
            if len(image) != self.image_size:
                raise ValueError(
                    f"{self.schema.image}: expected {self.image_size} numbers, got {len(image)} for item {position}"
                )
            images[position] = image
        return images

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready description that :meth:`from_json` reads."""
        return {
            "schema": asdict(self.schema),
            "config": asdict(self.config),
            "words": asdict(self.words),
            "bag": asdict(self.bag),
            "categories": [asdict(vocabulary) for vocabulary in self.categories],
            "means": list(self.means),
            "scales": list(self.scales),
            "image_size": self.image_size,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ItemEncoder:
        """Reads what :meth:`to_json` wrote.

        Raises:
            KeyError: A part is missing.
        """
        schema: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list | tuple) else value for key, value in document["schema"].items()
        }

        def vocabulary(part: Mapping[str, Any]) -> Vocabulary:
            return Vocabulary(tuple(part["tokens"]), part["bucket_count"])

        return cls(
            schema=FeatureSchema(**schema),
            config=EncodingConfig(**document["config"]),
            words=vocabulary(document["words"]),
            bag=vocabulary(document["bag"]),
            categories=tuple(vocabulary(part) for part in document["categories"]),
            means=tuple(document["means"]),
            scales=tuple(document["scales"]),
            image_size=document["image_size"],
        )


def _check(schema: FeatureSchema, columns: Columns) -> int:
    missing = [name for name in schema.columns if name not in columns]
    if missing:
        raise KeyError(f"columns: expected {', '.join(schema.columns)}; missing {', '.join(missing)}")
    return len(columns[schema.title])


def _bag_columns(schema: FeatureSchema) -> tuple[str, ...]:
    return tuple(dict.fromkeys((schema.title, *schema.text, *schema.multi_valued)))


def _category(value: str | None) -> str:
    return "" if value is None else normalise(value)


def _sequence(schema: FeatureSchema, columns: Columns, position: int) -> list[str]:
    tokens: list[str] = []
    for name in _bag_columns(schema):
        value = columns[name][position]
        if not value:
            continue
        tokens.append(f"<{name}>")
        for text in [value] if isinstance(value, str) else value:
            tokens.extend(words(text))
    return tokens


def _bags(schema: FeatureSchema, columns: Columns, position: int) -> list[list[str]]:
    bags: list[list[str]] = []
    for name in _bag_columns(schema):
        value = columns[name][position]
        if not value:
            bags.append([])
            continue
        if isinstance(value, str):
            tokens = [f"{name}={phrase}" for phrase in phrases(value)] + words(value)
        else:
            tokens = [f"{name}={' '.join(words(part))}" for part in value]
        bags.append(list(dict.fromkeys(tokens)))
    return bags
