"""What the harness asks of a model: its best items for people of the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Recommender(Protocol):
    """A fitted model that ranks the whole catalogue for people of the data set.

    A baseline, retrieval alone and retrieval followed by ranking all look alike from here.
    """

    @property
    def name(self) -> str:
        """The name in tables and plots, e.g. ``item-kNN``; distinct within one evaluation."""

    def recommend(self, users: NDArray[np.integer], k: int) -> NDArray[np.int32]:
        """Ranks the catalogue for some people.

        Args:
            users: int[B], positions in the data set's ``user_ids``.
            k: How many items to return, at least 1.

        Returns:
            int32[B, k]: rows of the catalogue, best first, without repeats and without the items that the problem
            excludes for that person; -1 at the end where the model has fewer to offer.
        """


@dataclass(frozen=True)
class Fitted:
    """A recommender and what it cost to fit.

    Args:
        recommender: The model.
        fit_seconds: Wall time of its training, in seconds; None when nobody knows.
        shared_ms: Milliseconds a person that were spent beforehand on what it shares with others.
    """

    recommender: Recommender
    fit_seconds: float | None
    shared_ms: float = 0.0
