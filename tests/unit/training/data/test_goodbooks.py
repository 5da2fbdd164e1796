from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.data.published_files import goodbooks, write_files
from training.data.behaviour_shelves import is_behaviour_shelf
from training.data.dataset import Dataset, SplitKind
from training.data.errors import DataError
from training.data.goodbooks import parse_series
from training.data.read import read_dataset


def events(dataset: Dataset) -> list[tuple[str, str, str, float | None]]:
    """User, item, action and value of each interaction."""
    done, ids = dataset.interactions, dataset.catalogue.item_ids
    return [
        (
            done.user_ids[user],
            ids[row],
            done.recorded[action],
            None if np.isnan(value) else value,
        )
        for user, row, action, value in zip(done.users, done.rows, done.actions, done.values, strict=True)
    ]


@pytest.mark.parametrize("gzipped", [False, True])
def test_books_are_read_with_their_content_and_nothing_that_people_did_to_them(tmp_path: Path, gzipped: bool) -> None:
    dataset = read_dataset(write_files(tmp_path, goodbooks(), gzipped=gzipped))

    assert dataset.catalogue.item_ids == ["1", "2", "3"]
    assert dataset.catalogue.columns.to_pydict() == {
        "title": [
            "The Hunger Games (The Hunger Games, #1)",
            "Harry Potter and the Sorcerer's Stone (Harry Potter, #1)",
            "The Odyssey",
        ],
        "language_code": ["eng", None, "eng"],
        "original_publication_year": [2008.0, 1997.0, -720.0],
        "authors": [["Suzanne Collins"], ["J.K. Rowling", "Mary GrandPré"], ["Homer"]],
        "tags": [["dystopia", "fantasy"], ["fantasy"], []],
        "series": [["The Hunger Games"], ["Harry Potter"], []],
    }
    assert set(dataset.catalogue.schema.columns) == set(dataset.catalogue.columns.column_names)


def test_of_a_repeated_rating_the_last_is_kept_and_a_mark_is_no_repeat_of_it(tmp_path: Path) -> None:
    dataset = read_dataset(write_files(tmp_path, goodbooks(to_read="user_id,book_id\n7,1\n")))

    assert events(dataset) == [
        ("7", "2", "rated", 3.0),
        ("8", "1", "rated", 4.0),
        ("7", "1", "rated", 2.0),
        ("7", "1", "to_read", None),
    ]


def test_only_marks_and_four_or_five_stars_are_taste(tmp_path: Path) -> None:
    dataset = read_dataset(write_files(tmp_path, goodbooks()))
    done = dataset.interactions

    assert dataset.actions.taste_mask(done.recorded, done.actions, done.values).tolist() == [
        False, True, False, True, True,
    ]  # fmt: skip
    assert [task.action for task in dataset.tasks] == ["liked", "to_read"]
    assert dataset.split_rule.kind is SplitKind.HASHED
    assert done.times is None


def test_plain_and_gzipped_files_have_one_fingerprint_and_other_content_another(tmp_path: Path) -> None:
    plain = read_dataset(write_files(tmp_path / "plain", goodbooks()))
    gzipped = read_dataset(write_files(tmp_path / "gzipped", goodbooks(), gzipped=True))
    other = read_dataset(write_files(tmp_path / "other", goodbooks(to_read="user_id,book_id\n7,3\n")))

    assert plain.fingerprint == gzipped.fingerprint != other.fingerprint
    assert len(plain.fingerprint) == 64


def test_the_whole_published_tag_file_gives_the_same_tags_as_the_subset(tmp_path: Path) -> None:
    files = goodbooks()
    del files["book_tags_min100.csv"]
    files["book_tags.csv"] = (
        "goodreads_book_id,tag_id,count\n11,5,900\n11,7,400\n11,6,150\n11,6,150\n12,6,100\n12,9,99\n99,6,500\n"
    )

    tags = read_dataset(write_files(tmp_path, files)).catalogue.columns["tags"].to_pylist()

    assert tags == [["dystopia", "fantasy"], ["fantasy"], []]


def test_books_without_a_tag_file_have_no_tags_and_a_note_says_so(tmp_path: Path) -> None:
    files = goodbooks()
    del files["book_tags_min100.csv"]

    dataset = read_dataset(write_files(tmp_path, files))

    assert dataset.catalogue.columns["tags"].to_pylist() == [[], [], []]
    assert any("no tags" in note for note in dataset.notes)


def test_the_second_editions_order_of_columns_is_read_alike(tmp_path: Path) -> None:
    ratings = "user_id,book_id,rating\n7,1,5\n7,2,3\n8,1,4\n7,1,2\n"

    assert events(read_dataset(write_files(tmp_path / "a", goodbooks(ratings=ratings)))) == events(
        read_dataset(write_files(tmp_path / "b", goodbooks()))
    )


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"ratings": "book_id,user_id\n1,7\n"}, ("ratings.csv", 1, "rating")),
        ({"ratings": "book_id,user_id,rating\n1,7,5\n4,7,5\n"}, ("ratings.csv", 3, "book_id")),
        ({"ratings": "book_id,user_id,rating\n1,7,5\n\n1,8,many\n"}, ("ratings.csv", 4, "rating")),
        ({"ratings": "book_id,user_id,rating\n1,,5\n"}, ("ratings.csv", 2, "user_id")),
        ({"ratings": "book_id,user_id,rating\n1,7,5\n1,7\n"}, ("ratings.csv", 3, None)),
        ({"to_read": "user_id,book_id\n7,3\n8,\n"}, ("to_read.csv", 3, "book_id")),
        (
            {"ratings": "book_id,user_id,rating\n", "to_read": "user_id,book_id\n"},
            ("ratings.csv, to_read.csv", None, None),
        ),
        ({"books": "book_id,title,authors,original_publication_year,language_code\n"}, ("books.csv", None, None)),
        ({"ratings": ""}, ("ratings.csv", None, None)),
        ({"book_tags_min100": "tag_id,book_id,count\n6,1,200\n77,1,200\n"}, ("book_tags_min100.csv", 3, "tag_id")),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_file_line_and_column(
    tmp_path: Path, changes: dict[str, str], place: tuple[str, int | None, str | None]
) -> None:
    with pytest.raises(DataError) as raised:
        read_dataset(write_files(tmp_path, goodbooks(**changes)))

    assert (raised.value.file, raised.value.row, raised.value.column) == place


def test_a_repeated_book_is_refused_at_its_line_also_after_titles_of_several_lines(tmp_path: Path) -> None:
    books = 'book_id,title,authors,original_publication_year,language_code\n1,"One\nline\nmore",A,,\n2,B,,,\n1,C,,,\n'

    with pytest.raises(DataError) as raised:
        read_dataset(write_files(tmp_path, goodbooks(books=books)))

    assert (raised.value.file, raised.value.row, raised.value.column) == ("books.csv", 6, "book_id")
    assert "also in line 2" in raised.value.message


@pytest.mark.parametrize(
    ("title", "series"),
    [
        ("Catching Fire (The Hunger Games, #2)", ["The Hunger Games"]),
        ("His Dark Materials (His Dark Materials #1-3)", ["His Dark Materials"]),
        ("Mort (Death, #1; Discworld, #4)", ["Death", "Discworld"]),
        ("The Silmarillion (Middle-Earth Universe)", []),
        ("On (Not) Getting By in America", []),
        ("Emma", []),
    ],
)
def test_the_series_is_read_from_the_title(title: str, series: list[str]) -> None:
    assert parse_series(title) == series


@pytest.mark.parametrize(
    "tag",
    ["to-read", "currently-reading", "owned", "favorites", "Favourites", "faves", "books-i-own", "read-in-2015",
     "kindle", "2016-reads", "5-stars", "e-books", "dnf", "my-books", "wish-list", "books", "to_buy",
     "book-club-books"],
)  # fmt: skip
def test_shelves_of_behaviour_are_told(tag: str) -> None:
    assert is_behaviour_shelf(tag)


@pytest.mark.parametrize(
    "tag", ["fantasy", "world-war-i", "rock-stars", "2015-releases", "bookish-love", "star-wars", "joan-of-arc",
            "20th-century"]
)  # fmt: skip
def test_tags_of_content_are_told(tag: str) -> None:
    assert not is_behaviour_shelf(tag)


@pytest.mark.data
def test_the_real_files_hold_what_their_readme_counts(real_data: Callable[[str], Path]) -> None:
    dataset = read_dataset(real_data("goodbooks-10k"))
    done = dataset.interactions

    assert (len(dataset.catalogue), len(done.user_ids)) == (10_000, 53_424)
    # 981,756 ratings, 2,278 of them repeats of a pair, and 912,705 marks.
    assert np.bincount(done.actions).tolist() == [979_478, 912_705]
    assert dataset.catalogue.columns["language_code"].null_count == 1_084
    ratings, marks = (set((done.users * 10_000 + done.rows)[done.actions == code].tolist()) for code in (0, 1))
    # The README counts the rows of both, 258; one of these ratings is a repeat.
    assert len(ratings & marks) == 257
