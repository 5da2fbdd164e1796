from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from ranking_service.convert import to_query, to_response
from ranking_service.engine.explanations import Explanation
from ranking_service.engine.query import RankedItems, RankingQuery, Shortfall, ShortfallReason
from twostage.errors import InvalidField
from twostage.features.diversity import Cap
from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2

_ROWS = {"a": 3, "ü": 9}
_CODES = {"rated": 1, "shelved": 2}


def _rows_of(ids: list[str]) -> NDArray[np.int64]:
    return np.array([_ROWS.get(item_id, -1) for item_id in ids], np.int64)


def _request() -> ranking_pb2.RankRequest:
    return ranking_pb2.RankRequest(
        generation=4,
        ranker="main",
        history=common_pb2.History(
            rows=[1, 2], actions=["rated", "danced"], values=[4.5, float("nan")], times_seconds=[10, 0]
        ),
        context=common_pb2.Context(
            surface="home", device="phone", locale="de", time=Timestamp(seconds=99), attributes={"a": "b"}
        ),
        candidates=retrieval_pb2.CandidateColumns(rows=[5, 6, 7], scores=[0.5, 0.25, -1.0], sources=[1, 1, 2]),
        count=2,
        blend={"liked": 2.0},
        selection=ranking_pb2.SelectionPolicy(
            diversity=common_pb2.Diversity(strength=0.5, caps=[common_pb2.Cap(attribute="genre", max_count=2)]),
            pinned_rows=[7],
        ),
        attributes=["genre"],
        explain=True,
        trace=True,
    )


def _convert(request: ranking_pb2.RankRequest) -> RankingQuery:
    return to_query(request, _rows_of, _CODES)


def test_every_field_arrives_in_the_query() -> None:
    query = _convert(_request())
    assert query.history.rows.tolist() == [1, 2]
    assert query.history.actions.tolist() == [1, 0]
    assert query.history.values[0] == 4.5
    assert np.isnan(query.history.values[1])
    assert query.history.times.tolist() == [10, 0]
    assert (query.context.surface, query.context.device, query.context.locale) == ("home", "phone", "de")
    assert query.context.time_seconds == 99
    assert query.context.attributes == {"a": "b"}
    assert query.candidate_rows.tolist() == [5, 6, 7]
    assert query.candidate_rows.dtype == np.uint32
    assert query.retrieval_scores.tolist() == [0.5, 0.25, -1.0]
    assert query.retrieval_scores.dtype == np.float32
    assert (query.count, query.ranker, dict(query.blend)) == (2, "main", {"liked": 2.0})
    assert query.selection.strength == 0.5
    assert query.selection.caps == (Cap("genre", 2),)
    assert query.selection.pinned_rows == (7,)
    assert (query.attributes, query.explain, query.trace) == (("genre",), True, True)


def test_columns_that_are_not_given_are_unknown() -> None:
    query = _convert(ranking_pb2.RankRequest(history=common_pb2.History(rows=[1, 2]), count=1))
    assert query.history.actions.tolist() == [0, 0]
    assert np.isnan(query.history.values).all()
    assert query.history.times.tolist() == [0, 0]
    assert len(query.candidate_rows) == 0


def test_ids_in_the_history_become_rows_and_unknown_ones_leave_every_column() -> None:
    history = common_pb2.History(
        item_ids=["a", "nobody", "ü"], actions=["rated", "rated", "shelved"], values=[1, 2, 3], times_seconds=[7, 8, 9]
    )
    query = _convert(ranking_pb2.RankRequest(history=history, count=1))
    assert query.history.rows.tolist() == [3, 9]
    assert query.history.actions.tolist() == [1, 2]
    assert query.history.values.tolist() == [1, 3]
    assert query.history.times.tolist() == [7, 9]


def test_parts_of_the_history_follow_its_entries() -> None:
    request = _request()
    assert _convert(request).history_weights is None
    request.history_weights.extend([0.75, 0.25])
    given = _convert(request).history_weights
    assert given is not None
    assert given.tolist() == [0.75, 0.25]
    by_id = common_pb2.History(item_ids=["a", "nobody", "ü"])
    kept = _convert(
        ranking_pb2.RankRequest(history=by_id, count=1, history_weights=[0.5, 0.125, 0.375])
    ).history_weights
    assert kept is not None
    assert kept.tolist() == [0.5, 0.375]


Change = Callable[[ranking_pb2.RankRequest], object]

_WRONG: list[tuple[str, Change]] = [
    ("count", lambda r: setattr(r, "count", 0)),
    ("count", lambda r: setattr(r, "count", -1)),
    ("count", lambda r: setattr(r, "count", 2001)),
    ("ranker", lambda r: setattr(r, "ranker", "x" * 65)),
    ("candidates.scores", lambda r: r.candidates.scores.pop()),
    ("candidates.sources", lambda r: r.candidates.sources.pop()),
    ("candidates.item_ids", lambda r: r.candidates.item_ids.append("a")),
    ("candidates.rows", lambda r: r.candidates.rows.extend(range(2000))),
    ("candidates.scores[1]", lambda r: r.candidates.scores.__setitem__(1, float("nan"))),
    ("candidates.scores[2]", lambda r: r.candidates.scores.__setitem__(2, float("inf"))),
    ("history.rows", lambda r: r.history.rows.extend([1] * 1000)),
    ("history.actions", lambda r: r.history.actions.pop()),
    ("history.values", lambda r: r.history.values.append(1)),
    ("history.times_seconds", lambda r: r.history.times_seconds.pop()),
    ("history.values[0]", lambda r: r.history.values.__setitem__(0, float("-inf"))),
    ("history.actions[1]", lambda r: r.history.actions.__setitem__(1, "x" * 65)),
    ("history.item_ids", lambda r: r.history.item_ids.append("a")),
    ("history.item_ids[0]", lambda r: r.history.CopyFrom(common_pb2.History(item_ids=[""]))),
    ("history.item_ids[1]", lambda r: r.history.CopyFrom(common_pb2.History(item_ids=["a", "ü" * 129]))),
    ("context.surface", lambda r: setattr(r.context, "surface", "ü" * 33)),
    ("context.device", lambda r: setattr(r.context, "device", "x" * 65)),
    ("context.locale", lambda r: setattr(r.context, "locale", "x" * 65)),
    ("context.attributes", lambda r: r.context.attributes.update({str(k): "" for k in range(32)})),
    ("context.attributes", lambda r: r.context.attributes.update({"k" * 129: ""})),
    ("context.attributes[a]", lambda r: r.context.attributes.update({"a": "v" * 129})),
    ("context.time", lambda r: setattr(r.context.time, "seconds", 2**62)),
    ("selection.diversity.strength", lambda r: setattr(r.selection.diversity, "strength", 1.01)),
    ("selection.diversity.strength", lambda r: setattr(r.selection.diversity, "strength", -0.01)),
    ("selection.diversity.strength", lambda r: setattr(r.selection.diversity, "strength", float("nan"))),
    ("selection.diversity.caps", lambda r: r.selection.diversity.caps.extend([r.selection.diversity.caps[0]] * 8)),
    ("selection.diversity.caps[0].max_count", lambda r: setattr(r.selection.diversity.caps[0], "max_count", 0)),
    ("selection.diversity.caps[0].max_count", lambda r: setattr(r.selection.diversity.caps[0], "max_count", 201)),
    ("selection.diversity.caps[0].attribute", lambda r: setattr(r.selection.diversity.caps[0], "attribute", "")),
    ("selection.pinned_rows", lambda r: r.selection.pinned_rows.extend(range(200))),
    ("attributes", lambda r: r.attributes.extend(["genre"] * 32)),
    ("attributes[1]", lambda r: r.attributes.append("x" * 129)),
    ("blend", lambda r: r.blend.update({str(k): 1.0 for k in range(64)})),
    ("history_weights", lambda r: r.history_weights.append(1.0)),
    ("history_weights", lambda r: r.history_weights.extend([0.5, 0.25, 0.25])),
    ("history_weights[1]", lambda r: r.history_weights.extend([0.5, float("nan")])),
    ("history_weights[0]", lambda r: r.history_weights.extend([-0.5, 0.5])),
]


@pytest.mark.parametrize(("field", "change"), _WRONG, ids=[f"{n}-{field}" for n, (field, _) in enumerate(_WRONG)])
def test_a_field_beyond_its_bounds_is_refused_by_its_path(field: str, change: Change) -> None:
    request = _request()
    change(request)
    with pytest.raises(InvalidField) as refused:
        _convert(request)
    assert [violation.field for violation in refused.value.violations] == [field]


@pytest.mark.parametrize(
    "change",
    [
        lambda r: setattr(r, "count", 2000),
        lambda r: r.candidates.CopyFrom(retrieval_pb2.CandidateColumns(rows=range(2000), scores=[0.0] * 2000)),
        lambda r: r.history.CopyFrom(common_pb2.History(rows=[1] * 1000)),
        lambda r: r.history.CopyFrom(common_pb2.History(item_ids=["ü" * 128])),
        lambda r: setattr(r.context, "surface", "ü" * 32),
        lambda r: setattr(r.selection.diversity, "strength", 1.0),
        lambda r: setattr(r.selection.diversity.caps[0], "max_count", 200),
    ],
)
def test_a_field_at_its_bound_is_taken(change: Change) -> None:
    request = _request()
    change(request)
    _convert(request)


def _ranked(**changes: object) -> RankedItems:
    fields: dict[str, object] = {
        "ranker": "main",
        "actions": ("rated", "liked"),
        "rows": np.array([6, 5], np.uint32),
        "scores": np.array([0.75, 0.5]),
        "action_scores": np.array([[0.5, 1.0], [0.25, 0.75]], np.float32),
        "candidate_indices": np.array([1, 0]),
        "ranking_ranks": None,
        "item_ids": ["b6", "b5"],
        "titles": ["Six", ""],
        "attributes": (),
        "explanations": (),
        "shortfall": None,
        "timings_ms": {"gather": 0.5, "model_server": 2.0},
    }
    return RankedItems(**{**fields, **changes})  # type: ignore[arg-type]


def test_items_are_written_in_order_with_all_their_parts() -> None:
    told = Explanation(5, "b5", "Five", 0.5, attention=0.25, match_share=0.4, ranking_effect=0.125)
    known_little = Explanation(9, "b9", "", 0.75)
    ranked = _ranked(
        ranking_ranks=np.array([2, 1]),
        attributes=[{"genre": "crime"}, {}],
        explanations=[[], [told, known_little]],
    )
    response = to_response(4, ranked)
    assert (response.generation, response.ranker) == (4, "main")
    assert list(response.actions) == ["rated", "liked"]
    assert response.items[0] == ranking_pb2.RankedItem(
        row=6,
        item_id="b6",
        title="Six",
        score=0.75,
        action_scores=[0.5, 1.0],
        attributes={"genre": "crime"},
        candidate_index=1,
        ranking_rank=2,
    )
    assert list(response.items[1].explanations) == [
        common_pb2.Explanation(
            item_id="b5", title="Five", attention=0.25, similarity=0.5, retrieval_part=0.125, ranking_effect=0.125
        ),
        common_pb2.Explanation(item_id="b9", similarity=0.75),
    ]
    assert list(response.items[1].reasons) == [
        "because of Five (40% of the match, likeness 0.50; without it the ranker's odds fall by 12%)",
        "because of b9 (likeness 0.75)",
    ]
    assert [(timing.stage, timing.compute_ms) for timing in response.timings] == [("gather", 0.5), ("model_server", 2)]
    assert not response.HasField("shortfall")


@pytest.mark.parametrize("reason", list(ShortfallReason))
def test_a_shortfall_is_told_with_its_reason(reason: ShortfallReason) -> None:
    response = to_response(4, _ranked(shortfall=Shortfall(3, reason)))
    assert response.shortfall.missing_count == 3
    assert common_pb2.ShortfallReason.Name(response.shortfall.reason) == f"SHORTFALL_REASON_{reason.name}"
