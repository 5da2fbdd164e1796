"""Makes a plausible catalogue and its interactions, of any size, in the own format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from training.data.dataset import SplitKind, SplitRule, Task
from training.data.own_format import INTERACTIONS_NAME, ITEMS_NAME, write_spec
from training.data.synthetic_words import FIRST_NAMES, GENRES, LAST_NAMES, MOODS, PLACES, THEMES
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

ACTIONS = ActionSchema(
    (
        Action("rated", source="rated", taste=False, weight=0.0),
        Action("liked", source="rated", min_value=4.0),
        Action("saved", source="saved"),
    )
)
"""Stars of any height are an event, 4 or 5 are taste; saving an item is taste."""

FIRST_SECOND = 1_704_067_200
"""2024-01-01 00:00 UTC: when the first interactions happen."""

PERIOD_SECONDS = 366 * 86_400
"""How long people act: one year."""

CUT = FIRST_SECOND + PERIOD_SECONDS * 9 // 10
"""The first second of the test period, which is the last tenth of the year."""

_ITEMS_PER_CHUNK = 100_000
_INTERACTIONS_PER_CHUNK = 1_000_000
_ITEM_STREAM, _IMAGE_STREAM, _USER_STREAM, _WORLD_STREAM = range(4)

_ITEMS_PER_AUTHOR = 8
_NICHES_PER_USER = 3
_TASTE_SHARE = 0.8
"""Of a person's choices, how many are of the own niches; the rest follows what is popular with everybody."""

_HEAD = 5.0
"""Popularity falls as 1 / (rank + 5): a Zipf law whose very first items do not take everything."""


@dataclass(frozen=True)
class _World:
    """What items and people share: each item's niche, a pair of genre and theme, and its popularity.

    An item's popularity rank is its place in ``by_popularity``; the catalogue's order says nothing of it. Per item it
    holds ten bytes and an order, so millions of items fit into little memory.
    """

    item_count: int
    user_count: int
    seed: int

    def random(self, *stream: int) -> np.random.Generator:
        """An own stream of random numbers for each part of the work, so that no part depends on another."""
        return np.random.default_rng([self.seed, *stream])

    @cached_property
    def niche_count(self) -> int:
        """As many niches as leave some 25 items to each, up to all pairs of genre and theme."""
        return int(np.clip(self.item_count // 25, 1, len(GENRES) * len(THEMES)))

    @cached_property
    def niche_order(self) -> NDArray[np.int64]:
        """Which pairs of genre and theme are the niches."""
        return self.random(_WORLD_STREAM, 0).permutation(len(GENRES) * len(THEMES))[: self.niche_count]

    @cached_property
    def niches(self) -> NDArray[np.int16]:
        """int16[N], each item's niche."""
        return self.random(_WORLD_STREAM, 1).integers(0, self.niche_count, self.item_count, dtype=np.int16)

    @cached_property
    def by_popularity(self) -> NDArray[np.int32]:
        """int32[N], the items' rows, the most popular first."""
        return self.random(_WORLD_STREAM, 2).permutation(self.item_count).astype(np.int32)

    @cached_property
    def by_niche(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """int32[N], rows niche by niche, the most popular of each first; and int64[niches + 1], where each begins."""
        niches = self.niches[self.by_popularity]
        rows = self.by_popularity[np.argsort(niches, kind="stable")]
        return rows, np.concatenate([[0], np.cumsum(np.bincount(niches, minlength=self.niche_count))])


def synthesize(
    out: Path,
    item_count: int,
    user_count: int,
    interaction_count: int | None = None,
    seed: int = 0,
    *,
    image_dim: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Writes a synthetic data set in the own format; the same arguments give the same files.

    Every item belongs to a niche, a genre with a theme, that shows in its title, tags and author. Every person likes
    a few niches, chooses mostly from them, popular items more often (a Zipf law), and rates what lies outside lower:
    content predicts taste, as in real catalogues. Memory stays small whatever the number of interactions is.

    Args:
        out: The directory to write to; made when it is missing.
        item_count: Items, 1 or more.
        user_count: People, 1 or more.
        interaction_count: Interactions to draw, 20 per person by default. A person's repeats are dropped, so somewhat
            fewer are written.
        seed: 0 or more.
        image_dim: Numbers in each item's image embedding; none when it is 0.
        progress: Where to show progress, if anywhere.

    Returns:
        The directory.

    Raises:
        ValueError: A number is out of its range.
    """
    total = 20 * user_count if interaction_count is None else interaction_count
    _check(item_count=(item_count, 1), user_count=(user_count, 1), interaction_count=(total, 1))
    _check(seed=(seed, 0), image_dim=(image_dim, 0))
    out.mkdir(parents=True, exist_ok=True)
    world = _World(item_count, user_count, seed)
    shown = progress or Progress(disable=True)
    _write(out / ITEMS_NAME, _item_chunks(world, image_dim), shown, "items", item_count)
    _write(out / INTERACTIONS_NAME, _interaction_chunks(world, total), shown, "people", user_count)
    schema = FeatureSchema(
        title="title",
        text=("title",),
        categorical=("language",),
        numeric=("year",),
        multi_valued=("authors", "tags"),
        image="image" if image_dim else None,
    )
    write_spec(
        out,
        name=f"synthetic-{item_count}-{user_count}-{seed}",
        schema=schema,
        actions=ACTIONS,
        rule=SplitRule(SplitKind.TIME_CUT, CUT),
        tasks=(Task("liked", "liked"), Task("saved", "saved")),
        timed=True,
    )
    return out


def _check(**bounds: tuple[int, int]) -> None:
    for name, (value, least) in bounds.items():
        if value < least:
            raise ValueError(f"{name}: expected {least} or more, got {value}")


def _write(path: Path, chunks: Iterator[tuple[int, pa.Table]], progress: Progress, what: str, total: int) -> None:
    """Writes chunk after chunk, so that only one is in memory."""
    task = progress.add_task(what, total=total)
    writer = None
    try:
        for done, table in chunks:
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            progress.advance(task, done)
    finally:
        if writer is not None:
            writer.close()


def _item_chunks(world: _World, image_dim: int) -> Iterator[tuple[int, pa.Table]]:
    looks = world.random(_IMAGE_STREAM).normal(size=(world.niche_count, image_dim))
    for chunk, start in enumerate(range(0, world.item_count, _ITEMS_PER_CHUNK)):
        niches = world.niches[start : start + _ITEMS_PER_CHUNK]
        random = world.random(_ITEM_STREAM, chunk)
        columns = {"item_id": item_ids(np.arange(start, start + len(niches)))}
        columns |= _content(world, niches, random)
        if image_dim:
            noise = random.normal(scale=0.5, size=(len(niches), image_dim))
            flat = pa.array((looks[niches] + noise).astype(np.float32).reshape(-1))
            columns["image"] = pa.FixedSizeListArray.from_arrays(flat, image_dim)
        yield len(niches), pa.table(columns)


def item_ids(rows: NDArray[np.integer]) -> pa.Array:
    """The ids of items, e.g. ``i0000042``."""
    return pa.array([f"i{row:07d}" for row in rows.tolist()], pa.string())


def _content(world: _World, niches: NDArray[np.int16], random: np.random.Generator) -> dict[str, pa.Array]:
    count = len(niches)
    pairs = world.niche_order[niches]
    genres, themes = list(GENRES), list(THEMES)
    per_niche = max(1, world.item_count // world.niche_count // _ITEMS_PER_AUTHOR)
    # Squaring makes some authors write more than others.
    author = (random.random(count) ** 2 * per_niche).astype(np.int64) * world.niche_count + niches
    shape, mood, place, noise = (random.integers(0, high, count) for high in (3, len(MOODS), len(PLACES), len(GENRES)))
    noun = random.integers(0, 6, count)
    tagged = random.random((count, 4)) < np.array([0.95, 0.9, 0.5, 0.1])
    titles, tags = [], []
    for position, (genre_code, theme_code) in enumerate(zip(pairs // len(THEMES), pairs % len(THEMES), strict=True)):
        genre, theme = genres[genre_code], themes[theme_code]
        adjective, thing = THEMES[theme]
        subject, town = GENRES[genre][noun[position]], PLACES[place[position]]
        titles.append(
            (f"The {adjective} {subject} of {town}", f"{subject} and {thing}", f"A {thing} in {town}: {subject}")[
                shape[position]
            ]
        )
        candidates = (genre, theme, MOODS[mood[position]], genres[noise[position]])
        chosen = [tag for tag, drawn in zip(candidates, tagged[position], strict=True) if drawn]
        tags.append(list(dict.fromkeys(chosen)))
    languages = np.array(["en", "fr", "de", "es"])[random.choice(4, count, p=[0.85, 0.05, 0.05, 0.05])]
    return {
        "title": pa.array(titles, pa.string()),
        "authors": pa.array([[_author(code)] for code in author.tolist()], pa.list_(pa.string())),
        "tags": pa.array(tags, pa.list_(pa.string())),
        "language": pa.array(languages.tolist(), pa.string()),
        "year": pa.array(2024.0 - np.floor(random.exponential(12.0, count))),
    }


def _author(code: int) -> str:
    first, last, initial = len(FIRST_NAMES), len(LAST_NAMES), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    middle = code // (first * last)
    names = [FIRST_NAMES[code % first], LAST_NAMES[code // first % last]]
    return " ".join(names if middle == 0 else [names[0], f"{initial[middle % 26]}.", names[1]])


def _interaction_chunks(world: _World, total: int) -> Iterator[tuple[int, pa.Table]]:
    mean = total / world.user_count
    people = max(1, min(world.user_count, int(_INTERACTIONS_PER_CHUNK / mean)))
    for chunk, start in enumerate(range(0, world.user_count, people)):
        users = np.arange(start, min(start + people, world.user_count))
        yield len(users), _interactions(world, users, mean, world.random(_USER_STREAM, chunk))


def _interactions(world: _World, users: NDArray[np.int64], mean: float, random: np.random.Generator) -> pa.Table:
    # How much people do is skewed: a gamma law of shape 1, with at least one interaction each.
    counts = 1 + random.poisson(random.gamma(1.0, max(mean - 1, 0.0), len(users)))
    person = np.repeat(np.arange(len(users)), counts)
    count = len(person)
    liked = random.integers(0, world.niche_count, (len(users), _NICHES_PER_USER))
    # The first niche of a person is the dearest.
    wanted = liked[person, random.choice(_NICHES_PER_USER, count, p=[0.5, 0.3, 0.2])]
    rows = np.where(
        random.random(count) < _TASTE_SHARE, _from_niche(world, wanted, random), _from_all(world, count, random)
    )
    fits = (world.niches[rows][:, None] == liked[person]).any(axis=1)
    saved = random.random(count) < 0.3
    stars = np.clip(np.rint(random.normal(np.where(fits, 4.3, 2.7), 0.8)), 1, 5)
    begin = random.random(len(users)) * 0.5
    times = FIRST_SECOND + (PERIOD_SECONDS * (begin[person] + random.random(count) * (1 - begin[person]))).astype(int)
    # Saving is taste: what does not fit is rated instead.
    saved &= fits
    keys = (person * world.item_count + rows) * 2 + saved
    _, first = np.unique(keys, return_index=True)
    order = first[np.lexsort((times[first], person[first]))]
    return pa.table(
        {
            "user_id": pa.array([f"u{user:07d}" for user in users[person[order]].tolist()], pa.string()),
            "item_id": item_ids(rows[order]),
            "action": pa.array(["rated", "saved"]).take(pa.array(saved[order].astype(np.int8))),
            "value": pa.array(stars[order], mask=saved[order]),
            "time": pa.array(times[order], pa.int64()),
        }
    )


def _ranks(sizes: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Ranks below each size, with a density that falls as 1 / (rank + head), by the inverse of its integral."""
    ranks = _HEAD * (((sizes + _HEAD) / _HEAD) ** random.random(len(sizes)) - 1.0)
    return np.minimum(ranks.astype(np.int64), sizes - 1)


def _from_niche(world: _World, niches: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int32]:
    rows, starts = world.by_niche
    sizes = starts[niches + 1] - starts[niches]
    # A niche without items leaves its people to what is popular.
    chosen = rows[np.minimum(starts[niches] + _ranks(np.maximum(sizes, 1), random), world.item_count - 1)]
    return np.where(sizes > 0, chosen, _from_all(world, len(niches), random))


def _from_all(world: _World, count: int, random: np.random.Generator) -> NDArray[np.int32]:
    return world.by_popularity[_ranks(np.full(count, world.item_count), random)]
