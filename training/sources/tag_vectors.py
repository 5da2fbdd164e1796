"""Interest tags as vectors, by the content of the items that carry them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import TagConfig
from twostage.bundle.arrays import write_array
from twostage.bundle.id_table import IdTable
from twostage.features.history import HISTORY_LENGTH

Encode = Callable[[NDArray[np.int32], NDArray[np.float32]], NDArray[np.float32]]
"""The user tower over padded histories: rows int32[B, 50] and mask float32[B, 50] to float32[B, D], unit length."""

_LEAST_WEIGHT = 0.1


@dataclass(frozen=True)
class TagVectors:
    """What interest tags mean.

    Args:
        tags: T distinct tags, those that the most items carry first.
        vectors: float32[T, D], L2-normalised; the items nearest to one are what a person interested in it may want,
            those nearest to a sum of several what suits all of them.
    """

    tags: list[str]
    vectors: NDArray[np.float32]

    def write(self, folder: Path) -> None:
        """Writes ``vocabulary`` and ``vectors.npy`` into ``folder``, as the manifest's TowerEntry describes."""
        IdTable.write(folder / "vocabulary", self.tags)
        write_array(folder / "vectors.npy", self.vectors)


def encode_tags(
    columns: Iterable[Sequence[Sequence[str]]],
    popularity: NDArray[np.floating | np.integer],
    encode: Encode,
    config: TagConfig,
    seed: int,
) -> TagVectors | None:
    """Encodes tags as if each were a person whose history is made of items that carry it.

    A history of at most 50 carriers is drawn without replacement, with odds proportional to the square root of
    popularity (plus 0.1), and the user tower encodes it; the sum over ``config.draw_count`` such histories, brought
    to unit length, is the tag's vector. So tags live where user vectors live, and what the tower knows of taste is
    used. Against means of carriers' vectors and against the item encoder fed with the tag alone this was the only
    rule that was good for broad genres and for narrow tags; docs/evaluation.md has the figures.

    Args:
        columns: The multi-valued attributes, each with a sequence of values for each of N items. A value of several
            attributes is one tag.
        popularity: float[N] or int[N], 0 or more.
        encode: The user tower.
        config: How many tags and draws.
        seed: Seeds the draws.

    Returns:
        The tags that at least ``config.least_item_count`` items carry, and of these the ``config.most_tag_count``
        that the most items carry, ties by the tag; None when there is none.
    """
    tags, carriers = _carriers(columns, config)
    if not tags:
        return None
    weights = np.sqrt(np.asarray(popularity, np.float64) + _LEAST_WEIGHT)
    rng = np.random.default_rng(seed)
    rows, owners = [], []
    for tag, items in enumerate(carriers):
        draw_count = config.draw_count if len(items) > HISTORY_LENGTH else 1
        for _ in range(draw_count):
            rows.append(_draw(items, weights[items], rng))
            owners.append(tag)
    padded = np.zeros((len(rows), HISTORY_LENGTH), np.int32)
    mask = np.zeros((len(rows), HISTORY_LENGTH), np.float32)
    for position, drawn in enumerate(rows):
        padded[position, : len(drawn)] = drawn
        mask[position, : len(drawn)] = 1.0
    encoded = encode(padded, mask)
    sums = np.zeros((len(tags), encoded.shape[1]), np.float64)
    np.add.at(sums, owners, encoded)
    vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return TagVectors(tags, vectors.astype(np.float32))


def _carriers(
    columns: Iterable[Sequence[Sequence[str]]], config: TagConfig
) -> tuple[list[str], list[NDArray[np.int32]]]:
    """The tags and for each the rows that carry it, ascending."""
    columns = list(columns)
    counts: Counter[str] = Counter()
    by_row = [list(dict.fromkeys(tag for values in item for tag in values)) for item in zip(*columns, strict=True)]
    for tags in by_row:
        counts.update(tags)
    enough = [(tag, count) for tag, count in counts.items() if count >= config.least_item_count]
    kept = [tag for tag, _ in sorted(enough, key=lambda entry: (-entry[1], entry[0]))[: config.most_tag_count]]
    code_of = {tag: code for code, tag in enumerate(kept)}
    rows: list[list[int]] = [[] for _ in kept]
    for row, tags in enumerate(by_row):
        for tag in tags:
            code = code_of.get(tag)
            if code is not None:
                rows[code].append(row)
    return kept, [np.array(of_tag, np.int32) for of_tag in rows]


def _draw(items: NDArray[np.int32], weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int32]:
    """At most 50 of the items, without replacement.

    The smallest of exponential variates divided by the weights: P. S. Efraimidis, P. G. Spirakis, *Weighted Random
    Sampling with a Reservoir*, 2006.
    """
    if len(items) <= HISTORY_LENGTH:
        return items
    keys = rng.standard_exponential(len(items)) / weights
    return items[np.sort(np.argpartition(keys, HISTORY_LENGTH)[:HISTORY_LENGTH])]
