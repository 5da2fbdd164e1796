"""Whether the attributes that a request names are there, before anybody is asked."""

from __future__ import annotations

from gateway.engine.caps import CapCounter
from gateway.engine.request import RecommendRequest
from twostage.bundle.attributes import Attributes


def check_attributes(request: RecommendRequest, attributes: Attributes) -> None:
    """Looks up every attribute that a request names; the values are looked at by who filters by them.

    Raises:
        InvalidField: One is not there, or is a number where values are needed.
    """
    for position, condition in enumerate(request.filter.conditions):
        attributes.column(condition.attribute, f"filter.conditions[{position}].attribute")
    for position, name in enumerate(request.attributes):
        attributes.column(name, f"attributes[{position}]")
    if request.diversity.caps:
        CapCounter(request.diversity.caps, attributes)
