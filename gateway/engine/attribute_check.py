"""Whether the attributes that a request names are there, before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engine.caps import CapCounter
from twostage.bundle.attributes import Attributes
from twostage.bundle.filters import Filter
from twostage.features.diversity import Cap


def check_attributes(
    attributes: Attributes, condition_filter: Filter, names: Sequence[str], caps: Sequence[Cap] = ()
) -> None:
    """Looks up every attribute that a request names; the values are looked at by who filters by them.

    Args:
        attributes: The generation's.
        condition_filter: The request's filter.
        names: Attributes to return with each item.
        caps: The request's caps.

    Raises:
        InvalidField: One is not there, or is a number where values are needed.
    """
    for position, condition in enumerate(condition_filter.conditions):
        attributes.column(condition.attribute, f"filter.conditions[{position}].attribute")
    for position, name in enumerate(names):
        attributes.column(name, f"attributes[{position}]")
    if caps:
        CapCounter(caps, attributes)
