"""Reads goodbooks-10k as its author publishes it: books, ratings, to-read marks and tags.

Zygmunt Zając, *Goodbooks-10k: a new dataset for book recommendations*, 2017; CC BY-SA 4.0.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.assemble import Recorded, build_catalogue, build_interactions, fingerprint, keep_last_repeats
from training.data.behaviour_shelves import is_behaviour_shelf
from training.data.dataset import Catalogue, Dataset, SplitKind, SplitRule, Task
from training.data.published import Published
from training.data.table_file import TableFile
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

ACTIONS = ActionSchema(
    (
        Action("rated", source="rated", taste=False, weight=0.0),
        Action("liked", source="rated", min_value=4.0),
        Action("to_read", source="to_read"),
    )
)
"""A rating of any height is an event, of 4 or 5 stars it is taste; a to-read mark is taste."""

SCHEMA = FeatureSchema(
    title="title",
    text=("title",),
    categorical=("language_code",),
    numeric=("original_publication_year",),
    multi_valued=("authors", "tags", "series"),
)
"""Content only: average_rating, ratings_count, ratings_1..5 and the other counts are feedback and are not read."""

TAG_COUNT_MIN = 100
"""How often a tag must have been put on a book to describe it; the published subset is cut there as well."""

TAGS_PER_BOOK_MAX = 20
"""At most so many tags of a book are kept, so that their number says little of how many people handled it."""

_SERIES = re.compile(r"\(([^()]*#[^()]*)\)\s*$")


def read_goodbooks(published: Published) -> Dataset:
    """Reads the folder; ``book_tags_min100`` stands in for ``book_tags``, and without tags books have none.

    Raises:
        DataError: A file is missing or holds something unexpected.
    """
    books = TableFile.read(
        published.path("books.csv"),
        ["book_id", "title", "authors", "original_publication_year", "language_code"],
        ["goodreads_book_id"],
    )
    ratings = TableFile.read(published.path("ratings.csv"), ["user_id", "book_id", "rating"])
    to_read = TableFile.read(published.path("to_read.csv"), ["user_id", "book_id"])
    ids = books.ids("book_id")
    tags, tag_files = _tags(published, books, ids)
    title = books.text("title")
    catalogue = build_catalogue(
        books,
        "book_id",
        ids,
        {
            "title": title,
            "language_code": books.text("language_code"),
            "original_publication_year": books.numbers("original_publication_year"),
            "authors": _authors(books),
            "tags": tags,
            "series": pa.array([parse_series(text or "") for text in title.to_pylist()], pa.list_(pa.string())),
        },
        SCHEMA,
    )
    interactions = build_interactions(
        [
            Recorded(ratings, ratings.ids("user_id"), ratings.ids("book_id"), "book_id", 0, ratings.numbers("rating")),
            Recorded(to_read, to_read.ids("user_id"), to_read.ids("book_id"), "book_id", 1),
        ],
        catalogue,
        ("rated", "to_read"),
    )
    kept = keep_last_repeats(interactions, len(catalogue))
    notes = [f"{len(interactions) - len(kept)} repeats of a person, book and action dropped, the last kept"]
    if not tag_files:
        notes.append("no tags: neither book_tags.csv nor book_tags_min100.csv is there")
    if _is_capped(catalogue, kept.rows[kept.actions == 0]):
        notes.append("first edition of the ratings: at most 100 per book, so popularity says nothing about them")
    return Dataset(
        name="goodbooks-10k",
        catalogue=catalogue,
        interactions=kept,
        actions=ACTIONS,
        split_rule=SplitRule(SplitKind.HASHED),
        tasks=(Task("liked", "liked"), Task("to_read", "to_read")),
        fingerprint=fingerprint([books, ratings, to_read, *tag_files]),
        notes=tuple(notes),
    )


def parse_series(title: str) -> list[str]:
    """The series that a title names at its end, e.g. ``["Mistborn"]`` for "The Well of Ascension (Mistborn, #2)".

    Several are separated by semicolons; a note in parentheses without a number is no series.
    """
    found = _SERIES.search(title)
    if found is None:
        return []
    names = (re.sub(r",?\s*#.*$", "", name).strip() for name in found.group(1).split(";"))
    return list(dict.fromkeys(name for name in names if name))


def _authors(books: TableFile) -> pa.ChunkedArray:
    # Some names are padded inside ("John     Harrison").
    lists = books.lists("authors", ",")
    return pa.chunked_array(
        [
            pa.ListArray.from_arrays(part.offsets, pc.replace_substring_regex(part.values, r"\s+", " "))
            for part in lists.chunks
        ],
        pa.list_(pa.string()),
    )


def _tags(published: Published, books: TableFile, ids: pa.ChunkedArray) -> tuple[pa.Array, list[TableFile]]:
    """Each book's tags, the most used first, and the files they come from.

    The counts order a book's own tags and are then forgotten: they are feedback.
    """
    if published.has("book_tags_min100.csv"):
        pairs = TableFile.read(published.path("book_tags_min100.csv"), ["book_id", "tag_id", "count"])
        rows = pc.index_in(pairs.ids("book_id"), value_set=ids.combine_chunks())
    elif published.has("book_tags.csv") and "goodreads_book_id" in books.table.column_names:
        pairs = TableFile.read(published.path("book_tags.csv"), ["goodreads_book_id", "tag_id", "count"])
        rows = pc.index_in(pairs.ids("goodreads_book_id"), value_set=books.ids("goodreads_book_id").combine_chunks())
    else:
        return pa.array([[]] * len(ids), pa.list_(pa.string())), []
    names = TableFile.read(published.path("tags.csv"), ["tag_id", "tag_name"])
    tag_names = [name or "" for name in names.text("tag_name").to_pylist()]
    content = np.array([bool(name) and not is_behaviour_shelf(name) for name in tag_names], dtype=np.bool_)
    tags = pc.index_in(pairs.ids("tag_id"), value_set=names.ids("tag_id").combine_chunks())
    unknown = np.flatnonzero(tags.is_null().to_numpy())
    if len(unknown):
        raise pairs.error(int(unknown[0]), "tag_id", "expected a tag of tags.csv")
    counts = pairs.integers("count")
    book, tag = pc.fill_null(rows, -1).to_numpy(), tags.to_numpy()
    use = (book >= 0) & (counts >= TAG_COUNT_MIN) & content[tag]
    book, tag, counts = book[use], tag[use], counts[use]
    order = np.lexsort((tag, -counts, book))
    lists: list[list[str]] = [[] for _ in range(len(ids))]
    for row, code in zip(book[order].tolist(), tag[order].tolist(), strict=True):
        # The published file repeats a few pairs.
        if len(lists[row]) < TAGS_PER_BOOK_MAX and tag_names[code] not in lists[row]:
            lists[row].append(tag_names[code])
    return pa.array(lists, pa.list_(pa.string())), [pairs, names]


def _is_capped(catalogue: Catalogue, rated_rows: np.ndarray[tuple[int], np.dtype[np.int32]]) -> bool:
    return len(rated_rows) > 0 and int(np.bincount(rated_rows, minlength=len(catalogue)).max()) == 100
