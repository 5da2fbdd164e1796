"""Reads MovieLens as GroupLens publishes it: ratings.csv and movies.csv, or the older .dat files.

F. Maxwell Harper and Joseph A. Konstan, *The MovieLens Datasets: History and Context*, ACM TiiS 5(4), 2015. The
GroupLens licence allows research use.
"""

from __future__ import annotations

from training.data.assemble import Recorded, build_interactions, fingerprint, keep_last_repeats
from training.data.dataset import Dataset, SplitKind, SplitRule, Task
from training.data.movies import read_films
from training.data.published import Published
from training.data.table_file import TableFile
from twostage.features.actions import Action, ActionSchema

ACTIONS = ActionSchema(
    (Action("rated", source="rated", taste=False, weight=0.0), Action("liked", source="rated", min_value=4.0))
)
"""A rating is an event; of 4 stars and more it is taste."""

_RATING_COLUMNS = ["userId", "movieId", "rating", "timestamp"]
_MOVIE_COLUMNS = ["movieId", "title", "genres"]


def read_movielens(published: Published) -> Dataset:
    """Reads the folder; tags that users wrote are feedback with a time and are left out.

    Raises:
        DataError: A file is missing or holds something unexpected.
    """
    if published.has("movies.csv"):
        movies = TableFile.read(published.path("movies.csv"), _MOVIE_COLUMNS)
        ratings = TableFile.read(published.path("ratings.csv"), _RATING_COLUMNS)
    else:
        movies = TableFile.read_double_colon(published.path("movies.dat"), _MOVIE_COLUMNS)
        ratings = TableFile.read_double_colon(published.path("ratings.dat"), _RATING_COLUMNS)
    catalogue = read_films(movies, "movieId")
    recorded = Recorded(
        ratings,
        ratings.ids("userId"),
        ratings.ids("movieId"),
        "movieId",
        values=ratings.numbers("rating"),
        times=ratings.integers("timestamp"),
    )
    interactions = build_interactions([recorded], catalogue, ("rated",))
    kept = keep_last_repeats(interactions, len(catalogue))
    return Dataset(
        name="movielens",
        catalogue=catalogue,
        interactions=kept,
        actions=ACTIONS,
        split_rule=SplitRule(SplitKind.LEAVE_LAST_OUT),
        tasks=(Task("liked", "liked"), Task("rated", "rated")),
        fingerprint=fingerprint([movies, ratings]),
        notes=(
            f"{len(interactions) - len(kept)} repeats of a person and film dropped, the last kept",
            "ties in time are broken by movieId as a number",
        ),
    )
