from __future__ import annotations

import math

import pytest

from twostage.bundle.filters import Condition
from twostage.errors import InvalidField
from twostage.features.diversity import Cap, Diversity
from twostage.messages.context import read_context
from twostage.messages.diversity import read_diversity
from twostage.messages.filters import read_filter
from twostage.v1 import common_pb2


def test_a_context_without_a_time_is_of_now_or_of_no_time() -> None:
    assert read_context(common_pb2.Context(), lambda: 1234.9).time_seconds == 1234
    assert read_context(common_pb2.Context()).time_seconds == 0
    told = common_pb2.Context(surface="home", device="phone", locale="de", attributes={"k": "v"})
    told.time.seconds = 77
    context = read_context(told, lambda: 1234.9)
    assert (context.surface, context.device, context.locale, context.time_seconds, context.attributes) == (
        "home",
        "phone",
        "de",
        77,
        {"k": "v"},
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"surface": "ü" * 33}, "context.surface"),
        ({"device": "x" * 65}, "context.device"),
        ({"locale": "x" * 65}, "context.locale"),
        ({"attributes": {str(n): "" for n in range(33)}}, "context.attributes"),
        ({"attributes": {"k" * 129: ""}}, "context.attributes"),
        ({"attributes": {"a": "v" * 129}}, "context.attributes[a]"),
        ({"time": {"seconds": -1}}, "context.time"),
        ({"time": {"seconds": 253_402_300_800}}, "context.time"),
    ],
)
def test_a_context_beyond_its_bounds_is_refused_by_its_path(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read_context(common_pb2.Context(**fields))  # type: ignore[arg-type]
    assert caught.value.violations[0].field == field


def test_conditions_are_read_in_order_and_unset_bounds_stay_unset() -> None:
    message = common_pb2.Filter(
        conditions=[
            common_pb2.Condition(attribute="tags", any_of=["a", ""], none_of=["c"]),
            common_pb2.Condition(attribute="year", range=common_pb2.Range(min=0)),
            common_pb2.Condition(attribute="year", range=common_pb2.Range(min=-math.inf, max=math.inf)),
            common_pb2.Condition(attribute="year", range=common_pb2.Range()),
        ]
    )
    assert read_filter(message).conditions == (
        Condition("tags", ("a", ""), ("c",)),
        Condition("year", minimum=0.0),
        Condition("year", minimum=-math.inf, maximum=math.inf),
        Condition("year"),
    )
    assert not read_filter(common_pb2.Filter())


def test_strength_and_caps_are_read() -> None:
    message = common_pb2.Diversity(strength=0.5, caps=[common_pb2.Cap(attribute="tags", max_count=200)])
    assert read_diversity(message) == Diversity(0.5, (Cap("tags", 200),))
    assert read_diversity(common_pb2.Diversity()) == Diversity()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (common_pb2.Diversity(strength=1.01), "d.strength"),
        (common_pb2.Diversity(strength=-0.01), "d.strength"),
        (common_pb2.Diversity(strength=math.nan), "d.strength"),
        (common_pb2.Diversity(caps=[common_pb2.Cap(attribute="a", max_count=1)] * 9), "d.caps"),
        (common_pb2.Diversity(caps=[common_pb2.Cap(attribute="a", max_count=0)]), "d.caps[0].max_count"),
        (common_pb2.Diversity(caps=[common_pb2.Cap(attribute="a", max_count=201)]), "d.caps[0].max_count"),
        (common_pb2.Diversity(caps=[common_pb2.Cap(max_count=1)]), "d.caps[0].attribute"),
        (common_pb2.Diversity(caps=[common_pb2.Cap(attribute="x" * 129, max_count=1)]), "d.caps[0].attribute"),
    ],
)
def test_a_diversity_beyond_its_bounds_is_refused_below_its_path(message: common_pb2.Diversity, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read_diversity(message, "d")
    assert caught.value.violations[0].field == field
