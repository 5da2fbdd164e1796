"""How much each source of candidates finds, alone and in the mix that a generation uses by default."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.query import RetrievalQuery
from training.data.dataset import Catalogue
from training.evaluation.bootstrap import Estimate, bootstrap
from training.evaluation.metrics import find_hits, recall
from training.evaluation.problem import WARM, Problem, sample_users
from training.evaluation.stages import CANDIDATE_COUNT, People
from twostage.candidates.blend import blend
from twostage.candidates.source import Source
from twostage.features.history import History

INTERESTS = "interests only"
"""The group of warm people of whom nothing but three interest tags is told."""
MIX = "the default mix"
"""What the engine answers where a request states no quotas."""

_LEAST_CARRIERS = 3
_TAG_COUNT = 3


@dataclass(frozen=True)
class SourceRecall:
    """One source for one group of people.

    Args:
        task: The task's name.
        group: ``warm``, ``cold`` or ``interests only``.
        source: The source's name in lower case, or ``the default mix``.
        people_count: How many people were asked.
        candidate_count: How many candidates a person gets.
        recall: Recall at that count where the source fills all places, over people.
        part: The mean part of the default mix that the source is among those who brought it.
    """

    task: str
    group: str
    source: str
    people_count: int
    candidate_count: int
    recall: Estimate
    part: float


def measure_sources(
    engine: RetrievalEngine,
    catalogue: Catalogue,
    problem: Problem,
    people: People,
    user_ids: Sequence[str],
    *,
    user_limit: int = 1000,
    count: int = CANDIDATE_COUNT,
    resample_count: int = 1000,
) -> list[SourceRecall]:
    """Measures every source that brings anything, and the default mix, for each group of people.

    Beside the problem's groups, the warm people are asked for as if they were new and had only told three interest
    tags: those with the highest ``n log(N / m)``, n of the person's items and m of the catalogue's N carrying the tag.

    Args:
        engine: The first stage.
        catalogue: The items, for their tags.
        problem: What is asked of whom.
        people: What is known of them.
        user_ids: The data set's, to draw people by.
        user_limit: The most people a group.
        count: Candidates a person; no more than there are items.
        resample_count: Bootstrap resamples.
    """
    count = min(count, engine.item_count)
    results: list[SourceRecall] = []
    nobody = History.of_rows(np.empty(0, np.uint32))
    for group, everybody in problem.groups.items():
        users = sample_users(user_ids, everybody, user_limit)
        queries = [RetrievalQuery(people.history(user), count, people.seen(user)) for user in users.tolist()]
        results += _measure(engine, problem, group, users, queries, count, resample_count)
        if group == WARM:
            tags = TagCounts(catalogue)
            told = [tags.characteristic(people.history(user).rows) for user in users.tolist()]
            telling = np.array([bool(of_user) for of_user in told], np.bool_)
            queries = [
                RetrievalQuery(nobody, count, people.seen(user), interest_tags=of_user)
                for user, of_user in zip(users.tolist(), told, strict=True)
                if of_user
            ]
            if queries:
                results += _measure(engine, problem, INTERESTS, users[telling], queries, count, resample_count)
    return results


class TagCounts:
    """Which tags say most of some items.

    Args:
        catalogue: The items; the values of their multi-valued columns are the tags. Those that fewer than three items
            carry are passed over.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        columns = [catalogue.values(name) for name in catalogue.schema.multi_valued]
        self._tags = [
            list(dict.fromkeys(tag for values in item for tag in values)) for item in zip(*columns, strict=True)
        ] or [[] for _ in range(len(catalogue))]
        self._carriers = Counter(tag for tags in self._tags for tag in tags)

    def characteristic(self, rows: NDArray[np.integer]) -> tuple[str, ...]:
        """At most three tags, the most characteristic first, ties by the tag."""
        counts = Counter(tag for row in rows.tolist() for tag in self._tags[row])
        weights = {
            tag: count * math.log(len(self._tags) / self._carriers[tag])
            for tag, count in counts.items()
            if self._carriers[tag] >= _LEAST_CARRIERS
        }
        return tuple(sorted(weights, key=lambda tag: (-weights[tag], tag))[:_TAG_COUNT])


@dataclass
class _Brought:
    """What one source brought to each person of a group."""

    ranked: NDArray[np.int32]
    parts: list[float] = field(default_factory=list)


def _measure(
    engine: RetrievalEngine,
    problem: Problem,
    group: str,
    users: NDArray[np.int32],
    queries: Sequence[RetrievalQuery],
    count: int,
    resample_count: int,
) -> list[SourceRecall]:
    brought: dict[str, _Brought] = {}

    def of(name: str) -> _Brought:
        return brought.setdefault(name, _Brought(np.full((len(users), count), -1, np.int32)))

    for position, query in enumerate(queries):
        mix = engine.retrieve(query)
        of(MIX).ranked[position, : len(mix.rows)] = mix.rows
        for source, rows in _by_source(engine, query, count):
            name = (source.name or "").lower()
            of(name).ranked[position, : len(rows)] = rows
            of(name).parts.append(float(((mix.sources & source) != 0).mean()) if len(mix.rows) else 0.0)
    relevant = problem.relevant[users]
    relevant_counts = np.diff(relevant.indptr)
    results = []
    for name, found in brought.items():
        by_person = recall(find_hits(found.ranked, relevant), relevant_counts, count)
        (estimate,) = bootstrap(by_person[:, np.newaxis], resample_count=resample_count, seed=0)
        part = 1.0 if name == MIX else sum(found.parts) / len(users)
        results.append(SourceRecall(problem.task.name, group, name, len(users), count, estimate, part))
    return results


def _by_source(engine: RetrievalEngine, query: RetrievalQuery, count: int) -> list[tuple[Source, NDArray[np.uint32]]]:
    """What each source brings where it may fill all places."""
    quotas: dict[Source, int] = {
        source: count for source in Source if source not in (Source.USER_VECTOR, Source.INCLUDED)
    }
    asked = RetrievalQuery(query.history, count, query.exclude_rows, interest_tags=query.interest_tags, quotas=quotas)
    gathered = engine.gather(asked)
    answer = []
    for source, parts in groupby(gathered.lists, key=lambda part: part.source):
        blended = blend(list(parts), count, item_count=gathered.item_count, allowed_count=gathered.allowed_count)
        if len(blended.rows):
            answer.append((source, blended.rows))
    return answer
