"""Any records that the log may have to hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from twostage.impressions.impression import Impression
from twostage.impressions.logged_event import LoggedEvent

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ROW = st.integers(0, 2**32 - 1)
_PLACE = st.integers(0, 2_000)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
_SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
_SECONDS = st.integers(0, 253_402_300_799)


def _columns(draw: st.DrawFn, count: int, *kinds: st.SearchStrategy[Any]) -> list[tuple[Any, ...]]:
    return [tuple(draw(st.lists(kind, min_size=count, max_size=count))) for kind in kinds]


@st.composite
def impressions(draw: st.DrawFn) -> Impression:
    history_count = draw(st.integers(0, 4))
    shown_count = draw(st.integers(0, 4))
    actions = tuple(draw(st.lists(_TEXT, max_size=3)))
    rows, done, values, times = _columns(draw, history_count, _ROW, _TEXT, _SINGLE, _SECONDS)
    told = draw(st.booleans())
    ids, shown, scores, sources, ranks, retrieval, places, propensities, teams = _columns(
        draw, shown_count, _TEXT, st.integers(-1, 2**32 - 1), _NUMBER, _TEXT, _PLACE, _SINGLE, _PLACE, _NUMBER, _TEXT
    )
    fixed = Impression("", 0)
    texts: dict[str, Any] = {name: draw(_TEXT) for name, value in fixed._asdict().items() if isinstance(value, str)}
    (action_scores,) = _columns(draw, shown_count * len(actions), _SINGLE)
    arms = draw(st.lists(st.tuples(_TEXT, _TEXT), max_size=2))
    return fixed._replace(
        **texts,
        time=draw(_SECONDS) * 1_000_000 + draw(st.integers(0, 999_999)),
        generation=draw(st.integers(1, 2**63 - 1)),
        experiments=tuple(experiment for experiment, _ in arms),
        arms=tuple(arm for _, arm in arms),
        asked_count=draw(_PLACE),
        candidate_count=draw(_PLACE),
        context_time=draw(_SECONDS),
        interest_tags=tuple(draw(st.lists(_TEXT, max_size=3))),
        include_seen=draw(st.booleans()),
        diversity_strength=draw(_NUMBER),
        pinned_rows=tuple(draw(st.lists(_ROW, max_size=3))),
        explain=draw(st.booleans()),
        history_rows=rows,
        history_actions=done if told else (),
        history_values=values if told else (),
        history_times=times if told else (),
        excluded_rows=tuple(sorted(draw(st.lists(_ROW, max_size=6)))),
        candidates_found=draw(st.none() | _PLACE),
        candidates_hash=draw(st.none() | st.integers(0, 2**63 - 1)),
        candidate_rows=rows,
        candidate_scores=values,
        item_ids=ids,
        rows=shown,
        scores=scores,
        sources=sources,
        candidate_ranks=ranks,
        retrieval_scores=retrieval,
        ranking_ranks=places,
        ranking_positions=places,
        propensities=propensities,
        teams=teams,
        actions=actions,
        action_scores=action_scores,
        missing_count=draw(_PLACE),
    )


events = st.builds(
    LoggedEvent,
    event_key=_TEXT,
    request_id=_TEXT,
    user_key=_TEXT,
    item_id=_TEXT,
    action=_TEXT,
    value=st.none() | _NUMBER,
    time=_SECONDS.map(lambda seconds: seconds * 1_000_000),
)


def as_arrays(impression: Impression) -> Impression:
    """The same with arrays where the gateway has arrays."""
    return impression._replace(
        excluded_rows=np.array(impression.excluded_rows, np.uint32),
        candidate_rows=np.array(impression.candidate_rows, np.uint32),
        candidate_scores=np.array(impression.candidate_scores, np.float32),
        rows=np.array(impression.rows, np.int64),
        retrieval_scores=np.array(impression.retrieval_scores, np.float32),
    )
