from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.data.published_files import (
    FILM_RATINGS_CSV,
    FILM_RATINGS_DAT,
    FILMS_CSV,
    FILMS_DAT,
    write_files,
)
from training.data.dataset import SplitKind
from training.data.errors import DataError
from training.data.read import read_dataset
from training.data.split import split

TWEETED = {"movies.dat": FILMS_DAT, "ratings.dat": FILM_RATINGS_DAT}
RATED = {"movies.csv": FILMS_CSV, "ratings.csv": FILM_RATINGS_CSV}


@pytest.mark.parametrize("gzipped", [False, True])
def test_tweeted_films_keep_the_zeros_of_their_ids_and_lose_the_year_of_their_title(
    tmp_path: Path, gzipped: bool
) -> None:
    dataset = read_dataset(write_files(tmp_path, TWEETED, gzipped=gzipped))

    assert dataset.name == "movietweetings"
    assert dataset.catalogue.item_ids == ["0076759", "0000001"]
    assert dataset.catalogue.columns.to_pydict() == {
        "title": ["Star Wars: Episode IV", "Untitled"],
        "year": [1977.0, None],
        "genres": [["Action", "Sci-Fi"], []],
    }
    assert dataset.split_rule.kind is SplitKind.TIME_CUT
    assert dataset.split_rule.cut == 1375315200
    done = dataset.interactions
    assert dataset.actions.label("liked", done.recorded, done.actions, done.values).tolist() == [True, False]


def test_a_snapshot_of_later_years_is_cut_where_its_last_tenth_begins(tmp_path: Path) -> None:
    ratings = "".join(
        f"1::0076759::9::{1_500_000_000 + day}\n2::0000001::5::{1_500_000_000 + day}\n" for day in range(50)
    )

    dataset = read_dataset(write_files(tmp_path, TWEETED | {"ratings.dat": ratings}))

    assert dataset.split_rule.cut == 1_500_000_045


def test_movielens_films_are_read_with_genres_and_both_tasks(tmp_path: Path) -> None:
    dataset = read_dataset(write_files(tmp_path, RATED))

    assert dataset.name == "movielens"
    assert dataset.catalogue.columns.to_pydict() == {
        "title": ["Toy Story", "Heat, The", "Alien"],
        "year": [1995.0, 1995.0, None],
        "genres": [["Animation", "Comedy"], [], ["Horror"]],
    }
    assert [task.name for task in dataset.tasks] == ["liked", "rated"]
    assert dataset.split_rule.kind is SplitKind.LEAVE_LAST_OUT
    assert dataset.interactions.values.tolist() == [4.0, 3.5, 5.0, 0.5, 4.5, 3.0]


def test_of_a_film_rated_again_the_later_rating_is_kept_wherever_it_stands(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,1,5,300\n1,1,1,100\n1,9,2,50\n1,9,4,50\n"

    done = read_dataset(write_files(tmp_path, RATED | {"ratings.csv": ratings})).interactions

    assert done.values.tolist() == [5.0, 4.0]


def test_the_older_movielens_files_are_told_from_tweets_and_read_as_latin_1(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes("1::Amélie (2001)::Comedy\n".encode("latin-1"))
    (tmp_path / "ratings.dat").write_bytes(b"1::1::5::978300760\n")

    dataset = read_dataset(tmp_path)

    assert dataset.name == "movielens"
    assert dataset.catalogue.titles() == ["Amélie"]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (TWEETED | {"ratings.dat": "1::0076759::9::7\n2::0000002::6::8\n"}, ("ratings.dat", 2, "movie_id")),
        (TWEETED | {"ratings.dat": "1::0076759::9::soon\n"}, ("ratings.dat", 1, "timestamp")),
        (TWEETED | {"ratings.dat": "1::0076759::9\n"}, ("ratings.dat", 1, None)),
        (TWEETED | {"ratings.dat": "1::0076759::9::7\n1::0000001::9\n"}, ("ratings.dat", 2, None)),
        (TWEETED | {"ratings.dat": ""}, ("ratings.dat", None, None)),
        (TWEETED | {"movies.dat": FILMS_DAT + "0076759::Again (1999)::Drama\n"}, ("movies.dat", 3, "movie_id")),
        (RATED | {"ratings.csv": "userId,movieId,rating,timestamp\n1,1,good,7\n"}, ("ratings.csv", 2, "rating")),
        (RATED | {"movies.csv": "movieId,title\n1,A\n"}, ("movies.csv", 1, "genres")),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_file_line_and_column(
    tmp_path: Path, files: dict[str, str], place: tuple[str, int | None, str | None]
) -> None:
    with pytest.raises(DataError) as raised:
        read_dataset(write_files(tmp_path, files))

    assert (raised.value.file, raised.value.row, raised.value.column) == place


@pytest.mark.data
def test_the_real_tweets_hold_what_their_readme_counts(real_data: Callable[[str], Path]) -> None:
    dataset = read_dataset(real_data("movietweetings-100k"))
    done = dataset.interactions

    assert (len(dataset.catalogue), len(done.user_ids), len(done)) == (10_506, 16_554, 100_000)
    assert np.bincount(done.rows).max() == 1_812
    assert np.mean(done.values >= 7) == pytest.approx(0.73, abs=0.005)
    assert dataset.split_rule.cut == 1375315200


@pytest.mark.data
def test_the_real_movielens_files_hold_what_their_readme_counts(real_data: Callable[[str], Path]) -> None:
    dataset = read_dataset(real_data("movielens-latest-small"))
    done = dataset.interactions

    assert (len(dataset.catalogue), len(done.user_ids), len(done)) == (9_742, 610, 100_836)
    assert int((done.values >= 4).sum()) == 48_580
    assert np.bincount(done.users).max() == 2_698
    test = split(dataset).test
    # The README's people whose last film occurs in training.
    assert int(np.isin(done.rows[test], done.rows[~test]).sum()) == 587
