"""Reads conditions on items' attributes."""

from __future__ import annotations

import math

from twostage.bundle.filters import Condition, Filter
from twostage.errors import InvalidField
from twostage.messages.bounds import MAX_ATTRIBUTE_BYTES, check_length, checked_text, checked_texts
from twostage.v1 import common_pb2

MAX_CONDITION_COUNT = 32
MAX_VALUE_COUNT = 1_000

_NO_FILTER = Filter()


def read_filter(message: common_pb2.Filter) -> Filter:
    """Reads a filter; whether its attributes are there is for the catalogue to say.

    Raises:
        InvalidField: A field breaks the contract's bounds.
    """
    conditions = message.conditions
    if not conditions:
        return _NO_FILTER
    check_length("filter.conditions", conditions, MAX_CONDITION_COUNT)
    return Filter(
        tuple(
            _read_condition(f"filter.conditions[{position}]", condition)
            for position, condition in enumerate(conditions)
        )
    )


def _read_condition(field: str, message: common_pb2.Condition) -> Condition:
    minimum = maximum = None
    if message.HasField("range"):
        bounds = message.range
        minimum = bounds.min if bounds.HasField("min") else None
        maximum = bounds.max if bounds.HasField("max") else None
        for name, bound in (("min", minimum), ("max", maximum)):
            if bound is not None and math.isnan(bound):
                raise InvalidField(f"{field}.range.{name}", "a number", bound)
        if minimum is not None and maximum is not None and maximum < minimum:
            raise InvalidField(f"{field}.range.max", f"at least min, {minimum:g}", maximum)
    return Condition(
        attribute=checked_text(f"{field}.attribute", message.attribute, MAX_ATTRIBUTE_BYTES, least=1),
        any_of=tuple(checked_texts(f"{field}.any_of", message.any_of, MAX_VALUE_COUNT, least=0)),
        none_of=tuple(checked_texts(f"{field}.none_of", message.none_of, MAX_VALUE_COUNT, least=0)),
        minimum=minimum,
        maximum=maximum,
    )
