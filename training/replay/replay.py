"""Replays a log: chooses answers, makes each once more, and says which are the same."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranking_service.engine.errors import RankingError
from training.replay.generation_stages import GenerationStages
from training.replay.remade import CannotReplay, remake
from training.replay.verdict import EPSILON, Judgement, Verdict, judge
from twostage.bundle.errors import BundleError
from twostage.bundle.store import Store
from twostage.errors import TwostageError
from twostage.impressions.batches import impressions_of
from twostage.impressions.impression import Impression
from twostage.impressions.log import Log

_EARLIER = re.compile(r"answered from the earlier answer ([0-9A-Za-z-]+)")
# A generation's engines and models take a while to open and some memory to hold.
_HELD_GENERATIONS = 2


@dataclass(frozen=True)
class Replayed:
    """One answer and what replay found of it."""

    impression: Impression
    judgement: Judgement


@dataclass
class Tally:
    """What replay found so far, by rung.

    Attributes:
        counts: How many answers of a rung got a verdict.
        largest_difference: Of any score that was compared.
    """

    counts: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    largest_difference: float = 0.0

    def add(self, replayed: Replayed) -> None:
        """Counts an answer."""
        judgement = replayed.judgement
        self.counts[replayed.impression.rung, judgement.verdict] += 1
        if judgement.verdict in (Verdict.SAME, Verdict.NEARLY):
            self.largest_difference = max(self.largest_difference, judgement.largest_difference)

    def count(self, *verdicts: Verdict, rung: str | None = None) -> int:
        """How many answers got one of these verdicts, on a rung or on all."""
        return sum(
            number for (on, verdict), number in self.counts.items() if verdict in verdicts and rung in (None, on)
        )


def chosen(
    log: Log, *, request_id: str | None = None, sample: int | None = None, seed: int = 0
) -> Iterator[Impression]:
    """Chooses answers of a log.

    Args:
        log: The log.
        request_id: The one answer of this name; None for others too.
        sample: So many, at random; None for all.
        seed: Of the choice.

    Raises:
        LogError: A file is damaged.
    """
    if request_id is not None:
        yield from _named(log, {request_id})
        return
    places = None
    if sample is not None:
        count = log.impression_count()
        places = np.sort(np.random.default_rng(seed).choice(count, min(sample, count), replace=False))
    start = 0
    for batch in log.impressions():
        if places is not None:
            inside = places[(places >= start) & (places < start + batch.num_rows)] - start
            start += batch.num_rows
            yield from impressions_of(batch.take(pa.array(inside)))
        else:
            yield from impressions_of(batch)


class Replay:
    """Makes answers once more.

    Args:
        store: Where their generations are.
        log: Where earlier answers are looked up, from which others came.
        epsilon: By how much scores may differ.
        open_stages: Opens the stages of a generation; for tests.
    """

    def __init__(
        self,
        store: Store,
        log: Log,
        *,
        epsilon: float = EPSILON,
        open_stages: Callable[[Store, int], GenerationStages] | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._epsilon = epsilon
        self._open = open_stages or _open_stages
        self._held: OrderedDict[int, GenerationStages | BundleError] = OrderedDict()
        self._earlier: dict[str, Impression] = {}

    def run(self, impressions: Iterable[Impression]) -> Iterator[Replayed]:
        """Makes answers once more, one after the other; those that came from the cache last, when all are known.

        Args:
            impressions: As logged.
        """
        cached: list[Impression] = []
        for impression in impressions:
            if impression.rung == "CACHED":
                cached.append(impression)
            else:
                yield self._replay(impression)
        wanted = {name for impression in cached if (name := _earlier_name(impression))}
        self._earlier = {impression.request_id: impression for impression in _named(self._log, wanted)}
        yield from map(self._replay, cached)

    def _replay(self, impression: Impression) -> Replayed:
        try:
            stages = self._stages(impression.generation)
            remade = remake(impression, stages, self._earlier.get(_earlier_name(impression)))
        except (CannotReplay, BundleError, TwostageError, RankingError) as error:
            return Replayed(impression, Judgement(Verdict.NOT_REPLAYED, (str(error),)))
        return Replayed(impression, judge(impression, remade, self._epsilon))

    def _stages(self, number: int) -> GenerationStages:
        held = self._held.get(number)
        if held is None:
            try:
                held = self._open(self._store, number)
            except BundleError as error:
                held = error
            if len(self._held) >= _HELD_GENERATIONS:
                self._held.popitem(last=False)
            self._held[number] = held
        self._held.move_to_end(number)
        if isinstance(held, BundleError):
            raise held
        return held


def _open_stages(store: Store, number: int) -> GenerationStages:
    store.fetch(number)
    return GenerationStages.open(store.open(number, verify=("items/", "retrieval/", "ranking/")), store.path)


def _earlier_name(impression: Impression) -> str:
    """The name of the answer that one came from; empty when it is told of none."""
    told = _EARLIER.search(impression.rung_reason)
    return told.group(1) if told is not None else ""


def _named(log: Log, request_ids: set[str]) -> Iterator[Impression]:
    if not request_ids:
        return
    names = pa.array(sorted(request_ids), pa.string())
    for batch in log.impressions():
        yield from impressions_of(batch.filter(pc.is_in(batch.column("request_id"), value_set=names)))
