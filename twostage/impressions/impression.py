"""One answer as it is logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = Sequence[int] | NDArray[np.integer[Any]]
"""A column's part; tuples when they were read from a log."""
Numbers = Sequence[float] | NDArray[np.floating[Any]]
"""Likewise."""


class Impression(NamedTuple):
    """An answer to Recommend, with all that it was made from which the bundle does not keep.

    The fields are the log's columns, in their order; docs/impressions.md has the table. Columns that say ``JSON`` hold
    text that is empty when there is nothing to say.

    Args:
        request_id: Names the answer.
        time: When it was answered, Unix microseconds.
        user_key: The keyed hash of whom it was for; empty for nobody in particular, or when the log is unkeyed.
        generation: The generation of everything that answered.
        rung: How much of the system answered, e.g. ``FULL``.
        rung_reason: As the caller was told.
        ranker: The ranker that scored; empty when none did.
        experiments: The experiments that the request was in.
        arms: Their arms, one for each.
        asked_count: How many items were asked for.
        candidate_count: How many candidates retrieval was asked for.
        surface: Of the context.
        device: Of the context.
        locale: Of the context.
        context_time: The request's own time, Unix seconds: ages in the history are counted from it; 0 when unknown.
        context_attributes: JSON object of texts.
        interest_tags: As asked.
        filter: JSON array of objects with ``attribute`` and some of ``any_of``, ``none_of``, ``min``, ``max``.
        include_seen: As asked.
        asked_ranker: The ranker that was asked for, by the request or an arm; empty for the bundle's own.
        blend: JSON object, action to weight, as asked.
        diversity_strength: As asked.
        diversity_caps: JSON array of objects with ``attribute`` and ``max_count``.
        pinned_rows: What was asked to stand first.
        source_quotas: JSON object, source to the most candidates.
        exploration_epsilon: The probability with which an explored position got an item by chance.
        exploration_share: The part of the positions that could be explored.
        exploration_pool_count: Among how many items chance chose.
        overrides: JSON object with ``ranker``, ``blend``, ``diversity_strength``: what experiments said otherwise. It
            is in place in the columns of the same meaning, unless the request itself said something.
        rivals: JSON array of two objects with ``arm``, ``ranker``, ``blend``, ``diversity_strength``: the rankings that
            were interleaved.
        explain: As asked; another signature of the user tower then answers.
        trace: As asked.
        history_rows: The person's history, oldest first.
        history_actions: What was done with each; empty when only the items are known.
        history_values: E.g. stars, NaN where there is none; as long as the actions.
        history_times: Unix seconds, 0 where unknown; as long as the actions.
        excluded_rows: What could not be recommended, ascending.
        unknown_item_count: How many ids of the history the generation did not know.
        candidates_found: How many candidates retrieval gave; None when it gave none because it did not answer.
        candidates_hash: Of the candidates' rows in their order, see :func:`candidates_hash`; None likewise.
        ranked_count: How many candidates were ranked, where not all were; 0 where all were.
        candidate_rows: The first of the candidates, as many as the log was told to keep; all of them on the rung
            ``FEWER_CANDIDATES``, where the bundle alone may not tell which they were.
        candidate_scores: Their retrieval scores.
        item_ids: What was shown, best first; the columns from here to ``teams`` are as long.
        rows: Their rows; -1 for those that were no candidates.
        scores: What the list is ordered by.
        sources: The sources that found each, separated by ``|``.
        candidate_ranks: Each one's place among the candidates, from 1; 0 for no candidate.
        retrieval_scores: User vector · item vector; NaN for no candidate.
        ranking_ranks: Each one's place by blended score before the selection policy, from 1; 0 when it was not told,
            which it is for a request with trace.
        ranking_positions: Each one's place in the list that ranking gave, from 1; 0 when ranking did not answer.
        propensities: The probability with which each was shown where it was.
        teams: The arm whose ranking brought each, where two were interleaved; empty otherwise.
        actions: The names of the A actions that the ranker predicts; none when it did not answer.
        action_scores: Their probabilities, A for each item, item by item; NaN where they differ from item to item.
        missing_count: How many items were missing.
        missing_reason: Why, e.g. ``EXCLUDED``; empty when none was.
    """

    request_id: str
    time: int
    user_key: str = ""
    generation: int = 0
    rung: str = "FULL"
    rung_reason: str = ""
    ranker: str = ""
    experiments: Sequence[str] = ()
    arms: Sequence[str] = ()
    asked_count: int = 0
    candidate_count: int = 0
    surface: str = ""
    device: str = ""
    locale: str = ""
    context_time: int = 0
    context_attributes: str = ""
    interest_tags: Sequence[str] = ()
    filter: str = ""
    include_seen: bool = False
    asked_ranker: str = ""
    blend: str = ""
    diversity_strength: float = 0.0
    diversity_caps: str = ""
    pinned_rows: Sequence[int] = ()
    source_quotas: str = ""
    exploration_epsilon: float = 0.0
    exploration_share: float = 0.0
    exploration_pool_count: int = 0
    overrides: str = ""
    rivals: str = ""
    explain: bool = False
    trace: bool = False
    history_rows: Sequence[int] = ()
    history_actions: Sequence[str] = ()
    history_values: Sequence[float] = ()
    history_times: Sequence[int] = ()
    excluded_rows: Integers = ()
    unknown_item_count: int = 0
    candidates_found: int | None = None
    candidates_hash: int | None = None
    ranked_count: int = 0
    candidate_rows: Integers = ()
    candidate_scores: Numbers = ()
    item_ids: Sequence[str] = ()
    rows: Integers = ()
    scores: Sequence[float] = ()
    sources: Sequence[str] = ()
    candidate_ranks: Sequence[int] = ()
    retrieval_scores: Numbers = ()
    ranking_ranks: Sequence[int] = ()
    ranking_positions: Sequence[int] = ()
    propensities: Sequence[float] = ()
    teams: Sequence[str] = ()
    actions: Sequence[str] = ()
    action_scores: Sequence[float] = ()
    missing_count: int = 0
    missing_reason: str = ""
