"""Which sources beside the user vector deserve places among the candidates, by recall on the validation part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from training.config import SharesConfig
from training.data.dataset import Interactions
from training.features.histories import UserOrder, taste_of
from training.progress import Report, Silent
from twostage.candidates.blend import blend
from twostage.candidates.source import Source
from twostage.candidates.source_list import SourceList
from twostage.features.actions import ActionSchema
from twostage.features.history import History

MEASURED = (Source.INTEREST_VECTORS, Source.NEIGHBOURS, Source.TRENDING, Source.NEW, Source.POPULAR)
"""The sources that may get a share; the others know nothing of a person with a history, or are asked for by name."""


@dataclass(frozen=True)
class Asker:
    """A person with a history and what they did after it.

    Args:
        history_rows: uint32[H], their taste, oldest first, at least one.
        seen_rows: uint32[S], what is not to be found.
        relevant_rows: uint32[R], the taste that followed, without what they had seen; at least one.
    """

    history_rows: NDArray[np.uint32]
    seen_rows: NDArray[np.uint32]
    relevant_rows: NDArray[np.uint32]


@dataclass(frozen=True)
class Step:
    """One more part of the candidates for one source.

    Args:
        source: Which.
        share: How large a part.
        recall: The mean recall with it.
        gain: How much that is above the recall before.
        error: The standard error of the gain less the price of the searches, over people.
        search_count: How many searches of the index it adds for a person, on average.
    """

    source: Source
    share: float
    recall: float
    gain: float
    error: float
    search_count: float


@dataclass(frozen=True)
class Choice:
    """Shares and why.

    Args:
        shares: The part of the candidates by source, 0 to 1; empty when nothing helps.
        user_vector_recall: The mean recall of the user vector alone; NaN without people.
        steps: What was taken, in order.
    """

    shares: Mapping[Source, float]
    user_vector_recall: float
    steps: Sequence[Step]

    @property
    def recall(self) -> float:
        """The mean recall with the shares."""
        return self.steps[-1].recall if self.steps else self.user_vector_recall

    def as_manifest(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "user_vector_recall": None if np.isnan(self.user_vector_recall) else round(self.user_vector_recall, 6),
            "steps": [
                {
                    "source": (step.source.name or "").lower(),
                    "share": step.share,
                    "recall": round(step.recall, 6),
                    "gain": round(step.gain, 6),
                    "standard_error": round(step.error, 6),
                    "search_count": round(step.search_count, 3),
                }
                for step in self.steps
            ],
        }


def draw_askers(
    past: Interactions, following: Interactions, actions: ActionSchema, most_count: int, seed: int
) -> list[Asker]:
    """Draws people who have taste both before and after.

    Args:
        past: What was known.
        following: What came after it.
        actions: Which of it is taste.
        most_count: How many people at most.
        seed: Seeds the draw.
    """
    known, everything = UserOrder.of(past.take(taste_of(past, actions))), UserOrder.of(past)
    later = UserOrder.of(following.take(taste_of(following, actions)))
    both = np.flatnonzero((np.diff(known.offsets) > 0) & (np.diff(later.offsets) > 0))
    askers: list[Asker] = []
    for user in np.random.default_rng(seed).permutation(both).tolist():
        if len(askers) == most_count:
            break
        seen = np.unique(everything.interactions.rows[everything.of_user(user)])
        relevant = np.setdiff1d(later.interactions.rows[later.of_user(user)], seen)
        if len(relevant):
            history = known.interactions.rows[known.of_user(user)]
            askers.append(Asker(history.astype(np.uint32), seen.astype(np.uint32), relevant.astype(np.uint32)))
    return askers


def choose_shares(
    engine: RetrievalEngine,
    askers: Sequence[Asker],
    count: int,
    config: SharesConfig,
    report: Report | None = None,
) -> Choice:
    """Gives parts of the candidates to the sources that find most of what people did next.

    It starts from the user vector alone. As long as the recall grows, one of ``config.steps`` of the candidates goes
    from the user vector to the source with which it grows most, until the sources have ``config.most``. What a gain is
    worth is the recall less ``config.search_price`` for every search that the source adds; one below
    ``config.least_errors`` standard errors is none. Every source is asked once for each person, and the lists are then
    blended as they are when serving.

    Args:
        engine: Retrieval as of the moment before what the askers did next: its orders of items know nothing of that.
        askers: The people.
        count: How many candidates a person gets.
        config: The steps and when to stop.
        report: Told of progress.
    """
    if not askers:
        return Choice({}, float("nan"), ())
    steps_through = (report or Silent()).steps(len(askers), "asking the sources")
    gathered = [(askers[position], _lists(engine, askers[position], count)) for position in steps_through]

    def recalls(shares: Mapping[Source, float]) -> NDArray[np.float64]:
        return np.array(
            [_recall(asker, _mixed(lists, shares, count), count, engine.item_count) for asker, lists in gathered]
        )

    searches = {source: np.array([_search_count(lists, source) for _, lists in gathered]) for source in MEASURED}
    shares: dict[Source, float] = {}
    steps: list[Step] = []
    now = alone = recalls(shares)
    while True:
        trials = []
        for source, step in product(MEASURED, config.steps):
            if sum(shares.values()) + step <= config.most + 1e-9:
                trial = {**shares, source: round(shares.get(source, 0.0) + step, 6)}
                # Who is asked already costs nothing more.
                added = searches[source] * (source not in shares)
                values = recalls(trial)
                trials.append((source, step, trial, values, added, values - now - config.search_price * added))
        if not trials:
            break
        # Of equal ones the first: an earlier source, a smaller step.
        source, step, trial, values, added, worth = max(trials, key=lambda entry: float(entry[5].mean()))
        error = float(worth.std() / len(worth) ** 0.5)
        if not worth.mean() > config.least_errors * error:
            break
        gain = float((values - now).mean())
        steps.append(Step(source, step, float(values.mean()), gain, error, float(added.mean())))
        shares, now = trial, values
    return Choice(shares, float(alone.mean()), steps)


def _lists(engine: RetrievalEngine, asker: Asker, count: int) -> list[SourceList]:
    """What every source brings where each may fill all places, in the order of seats."""
    query = RetrievalQuery(
        History.of_rows(asker.history_rows),
        count,
        asker.seen_rows,
        quotas=dict.fromkeys(MEASURED, count),
    )
    return list(engine.gather(query).lists)


def _search_count(lists: Sequence[SourceList], source: Source) -> int:
    return sum(part.source is source and part.keys is not None for part in lists)


def _mixed(lists: Sequence[SourceList], shares: Mapping[Source, float], count: int) -> Iterator[SourceList]:
    """The lists as the engine makes them with these shares: each source's first rows are those of a longer list."""
    for part in lists:
        if part.source is Source.USER_VECTOR:
            yield part
        elif part.source in shares:
            yield replace(part, wanted_count=int(shares[part.source] * count + 1e-9))


def _recall(asker: Asker, lists: Iterator[SourceList], count: int, item_count: int) -> float:
    blended = blend(list(lists), count, item_count=item_count, allowed_count=item_count)
    return float(np.isin(asker.relevant_rows, blended.rows).sum() / min(count, len(asker.relevant_rows)))
