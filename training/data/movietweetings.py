"""Reads MovieTweetings as published: ratings (0..10) from tweets, with real time.

S. Dooms, T. De Pessemier, L. Martens, *MovieTweetings: a Movie Rating Dataset Collected From Twitter*, CrowdRec at
RecSys 2013; MIT licence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.assemble import Recorded, build_interactions, fingerprint, keep_last_repeats
from training.data.dataset import Dataset, SplitKind, SplitRule, Task
from training.data.movies import read_films
from training.data.published import Published
from training.data.table_file import TableFile
from twostage.features.actions import Action, ActionSchema

ACTIONS = ActionSchema(
    (Action("rated", source="rated", taste=False, weight=0.0), Action("liked", source="rated", min_value=7.0))
)
"""A rating is an event; of 7 and more it is taste."""

CUT_100K = 1375315200
"""2013-08-01 00:00 UTC, the cut for the snapshot of 100,000 ratings, which ends on 2013-09-01."""

_CUT_100K_UNTIL = 1380585600  # 2013-10-01: a later snapshot would have most of its ratings after that cut.


def read_movietweetings(published: Published) -> Dataset:
    """Reads ``movies.dat`` and ``ratings.dat``.

    The snapshot of 100,000 ratings is cut at 2013-08-01; others at the second where their last tenth begins.

    Raises:
        DataError: A file is missing or holds something unexpected.
    """
    movies = TableFile.read_double_colon(published.path("movies.dat"), ["movie_id", "title", "genres"])
    ratings = TableFile.read_double_colon(published.path("ratings.dat"), ["user_id", "movie_id", "rating", "timestamp"])
    catalogue = read_films(movies, "movie_id")
    times = ratings.integers("timestamp")
    interactions = build_interactions(
        [
            Recorded(
                ratings,
                ratings.ids("user_id"),
                ratings.ids("movie_id"),
                "movie_id",
                values=ratings.numbers("rating"),
                times=times,
            )
        ],
        catalogue,
        ("rated",),
    )
    kept = keep_last_repeats(interactions, len(catalogue))
    return Dataset(
        name="movietweetings",
        catalogue=catalogue,
        interactions=kept,
        actions=ACTIONS,
        split_rule=SplitRule(SplitKind.TIME_CUT, _cut(times)),
        tasks=(Task("liked", "liked"),),
        fingerprint=fingerprint([movies, ratings]),
        notes=(f"{len(interactions) - len(kept)} repeats of a person and film dropped, the last kept",),
    )


def _cut(times: NDArray[np.int64]) -> int:
    if CUT_100K < times.max() < _CUT_100K_UNTIL:
        return CUT_100K
    return int(np.sort(times)[len(times) * 9 // 10])
