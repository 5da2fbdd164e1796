from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.convert import read_recommend_request, write_recommend_response
from gateway.engine.ladder import Rung
from gateway.engine.response import (
    Explanation,
    Recommendation,
    RecommendResponse,
    Shortfall,
    ShortfallReason,
    Timing,
    Trace,
)
from twostage.errors import InvalidField
from twostage.features.diversity import Cap
from twostage.v1 import common_pb2, gateway_pb2

Request = gateway_pb2.RecommendRequest
Condition = common_pb2.Condition


def condition(**fields: Any) -> gateway_pb2.RecommendRequest:
    return Request(filter=common_pb2.Filter(conditions=[Condition(attribute="a", **fields)]))


def test_an_empty_request_asks_for_twenty_now() -> None:
    request = read_recommend_request(Request(), lambda: 1234.9)
    assert request.count == 20
    assert request.context.time_seconds == 1234
    assert not request.filter
    assert request.diversity.strength == 0


def test_every_field_arrives() -> None:
    message = Request(
        user_id="u",
        recent_item_ids=["a"],
        interest_tags=["t"],
        count=200,
        context=common_pb2.Context(surface="home", device="phone", locale="de", attributes={"k": "v"}),
        filter=common_pb2.Filter(
            conditions=[
                Condition(attribute="tags", any_of=["x"], none_of=["y"]),
                Condition(attribute="year", range=common_pb2.Range(min=0.0)),
            ]
        ),
        exclude_item_ids=["b"],
        include_seen=True,
        diversity=common_pb2.Diversity(strength=0.5, caps=[common_pb2.Cap(attribute="tags", max_count=2)]),
        attributes=["year"],
        explain=True,
        trace=True,
        ranker="deepfm",
        blend={"liked": 0.5, "rated": 0.0},
        pinned_item_ids=["p", "q"],
    )
    message.context.time.seconds = 77
    request = read_recommend_request(message, lambda: 0.0)
    assert (request.user_id, request.count, request.include_seen) == ("u", 200, True)
    assert (request.explain, request.trace) == (True, True)
    assert list(request.recent_item_ids) == ["a"]
    assert list(request.exclude_item_ids) == ["b"]
    assert list(request.interest_tags) == ["t"]
    assert list(request.attributes) == ["year"]
    assert request.context.time_seconds == 77
    assert (request.context.surface, request.context.device, request.context.locale) == ("home", "phone", "de")
    assert request.context.attributes == {"k": "v"}
    first, second = request.filter.conditions
    assert (first.attribute, first.any_of, first.none_of, first.has_range) == ("tags", ("x",), ("y",), False)
    assert (second.minimum, second.maximum) == (0.0, None)
    assert request.diversity.caps == (Cap("tags", 2),)
    assert (request.ranker, request.blend) == ("deepfm", {"liked": 0.5, "rated": 0.0})
    assert list(request.pinned_item_ids) == ["p", "q"]


BAD: list[tuple[gateway_pb2.RecommendRequest, str]] = [
    (Request(count=0), "count: expected 1 to 200, received 0"),
    (Request(count=-1), "count: expected 1 to 200, received -1"),
    (Request(count=2**31 - 1), "count: expected 1 to 200, received 2147483647"),
    (Request(user_id="x" * 257), "user_id: expected 0 to 256 bytes"),
    (Request(user_id="ü" * 129), "user_id: expected 0 to 256 bytes"),
    (Request(recent_item_ids=["a", ""]), "recent_item_ids[1]: expected 1 to 256 bytes"),
    (Request(recent_item_ids=["a"] * 1001), "recent_item_ids: expected at most 1000 entries, received 1001"),
    (Request(exclude_item_ids=["a" * 257]), "exclude_item_ids[0]: expected 1 to 256 bytes"),
    (Request(exclude_item_ids=["a"] * 10_001), "exclude_item_ids: expected at most 10000 entries"),
    (Request(interest_tags=["a"] * 65), "interest_tags: expected at most 64 entries"),
    (Request(attributes=["a"] * 33), "attributes: expected at most 32 entries"),
    (Request(context=common_pb2.Context(surface="s" * 65)), "context.surface: expected 0 to 64 bytes"),
    (
        Request(context=common_pb2.Context(attributes={str(i): "" for i in range(33)})),
        "context.attributes: expected at most 32",
    ),
    (Request(diversity=common_pb2.Diversity(strength=1.5)), "diversity.strength: expected 0 to 1, received 1.5"),
    (Request(diversity=common_pb2.Diversity(strength=float("nan"))), "diversity.strength: expected 0 to 1"),
    (
        Request(diversity=common_pb2.Diversity(caps=[common_pb2.Cap(attribute="a")])),
        "diversity.caps[0].max_count: expected 1 to 200, received 0",
    ),
    (
        Request(filter=common_pb2.Filter(conditions=[Condition()] * 33)),
        "filter.conditions: expected at most 32 entries",
    ),
    (condition(any_of=["a"] * 1001), "filter.conditions[0].any_of: expected at most 1000 entries"),
    (condition(none_of=["a" * 257]), "filter.conditions[0].none_of[0]: expected 0 to 256 bytes"),
    (condition(range=common_pb2.Range(min=float("nan"))), "filter.conditions[0].range.min: expected a number"),
    (condition(range=common_pb2.Range(min=2, max=1)), "filter.conditions[0].range.max: expected at least min, 2"),
    (Request(ranker="r" * 65), "ranker: expected 0 to 64 bytes"),
    (Request(blend={"a": -0.5}), "blend[a]: expected a finite weight of 0 or more, received -0.5"),
    (Request(blend={"a": float("nan")}), "blend[a]: expected a finite weight of 0 or more, received nan"),
    (Request(blend={"a": float("inf")}), "blend[a]: expected a finite weight of 0 or more, received inf"),
    (Request(blend={str(i): 1.0 for i in range(33)}), "blend: expected at most 32 entries, received 33"),
    (Request(blend={"x" * 65: 1.0}), "blend: expected 1 to 64 bytes of UTF-8"),
    (Request(blend={"": 1.0}), "blend: expected 1 to 64 bytes of UTF-8, received ''"),
    (Request(pinned_item_ids=["a"] * 201), "pinned_item_ids: expected at most 200 entries, received 201"),
    (Request(pinned_item_ids=["a", ""]), "pinned_item_ids[1]: expected 1 to 256 bytes"),
]


@pytest.mark.parametrize(("message", "expected"), BAD, ids=[expected.split(",")[0] for _, expected in BAD])
def test_a_field_beyond_its_bound_is_named(message: gateway_pb2.RecommendRequest, expected: str) -> None:
    with pytest.raises(InvalidField, match=re.escape(expected)):
        read_recommend_request(message, lambda: 0.0)


def test_a_time_before_1970_is_refused() -> None:
    message = Request()
    message.context.time.seconds = -5
    with pytest.raises(InvalidField, match=r"context\.time: expected a time from 1970"):
        read_recommend_request(message, lambda: 0.0)


def test_lists_and_strings_at_their_bounds_are_taken() -> None:
    message = Request(
        user_id="ü" * 128, recent_item_ids=["x" * 256] * 1000, exclude_item_ids=["é"] * 10_000, interest_tags=["t"] * 64
    )
    assert len(read_recommend_request(message, lambda: 0.0).exclude_item_ids) == 10_000


def test_an_answer_is_written_whole() -> None:
    message = write_recommend_response(
        RecommendResponse(
            request_id="r",
            recommendations=[
                Recommendation(
                    "a",
                    0.5,
                    "A",
                    {"liked": 0.25},
                    {"tags": "x, y"},
                    ("popular",),
                    ("because",),
                    7,
                    Trace(0.125, 3, 2, 1, {"popular": 4}, ("found by popular at 4 of 9", "pinned to 1")),
                    [Explanation("h", "Heard", 0.5, 0.25, 0.125, -1.5)],
                ),
                Recommendation("b", 0.25),
            ],
            shortfall=Shortfall(3, ShortfallReason.EXCLUDED),
            generation=4,
            rung=Rung.RETRIEVAL_ORDER,
            rung_reason="why",
            timings=[Timing("retrieval", 1.5, 0.5)],
            unknown_item_count=2,
            ranker="deepfm",
        )
    )
    first, second = message.recommendations
    assert (first.item_id, first.score, first.title, first.candidate_rank) == ("a", 0.5, "A", 7)
    assert dict(first.action_scores) == {"liked": 0.25}
    assert dict(first.attributes) == {"tags": "x, y"}
    assert list(first.sources) == ["popular"]
    assert list(first.reasons) == ["because"]
    trace = first.trace
    assert (trace.retrieval_score, trace.retrieval_rank, trace.ranking_rank, trace.final_rank) == (0.125, 3, 2, 1)
    assert dict(trace.source_ranks) == {"popular": 4}
    assert list(trace.steps) == ["found by popular at 4 of 9", "pinned to 1"]
    (told,) = first.explanations
    assert (told.item_id, told.title, told.attention, told.similarity, told.retrieval_part, told.ranking_effect) == (
        *("h", "Heard"),
        *(0.5, 0.25, 0.125, -1.5),
    )
    assert not second.HasField("trace")
    assert not second.explanations
    assert message.ranker == "deepfm"
    assert message.shortfall.missing_count == 3
    assert message.shortfall.reason == common_pb2.SHORTFALL_REASON_EXCLUDED
    assert message.rung == gateway_pb2.RUNG_RETRIEVAL_ORDER
    assert (message.request_id, message.generation, message.rung_reason) == ("r", 4, "why")
    assert (message.timings[0].stage, message.timings[0].transport_ms, message.unknown_item_count) == (
        "retrieval",
        0.5,
        2,
    )


@pytest.mark.parametrize("rung", Rung)
def test_every_rung_and_reason_has_its_name_in_the_contract(rung: Rung) -> None:
    assert gateway_pb2.Rung.Value(f"RUNG_{rung.name}") == rung.value
    for reason in ShortfallReason:
        assert common_pb2.ShortfallReason.Value(f"SHORTFALL_REASON_{reason.name}") == reason.value
