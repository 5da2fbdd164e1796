"""Reads how a list is spread over unlike items."""

from __future__ import annotations

from twostage.errors import InvalidField
from twostage.features.diversity import Cap, Diversity
from twostage.messages.bounds import MAX_ATTRIBUTE_BYTES, check_length, checked_count, checked_text
from twostage.v1 import common_pb2

MAX_CAPS = 8
MAX_CAP_COUNT = 200


def read_diversity(message: common_pb2.Diversity, field: str = "diversity") -> Diversity:
    """Reads strength and caps; whether the caps' attributes are there is for the catalogue to say.

    Args:
        message: As it came.
        field: Its path in the request.

    Raises:
        InvalidField: A field breaks the contract's bounds.
    """
    strength = message.strength
    # Written so that NaN is refused as well.
    if not 0 <= strength <= 1:
        raise InvalidField(f"{field}.strength", "0 to 1", strength)
    check_length(f"{field}.caps", message.caps, MAX_CAPS)
    return Diversity(
        strength,
        tuple(
            Cap(
                checked_text(f"{field}.caps[{position}].attribute", cap.attribute, MAX_ATTRIBUTE_BYTES, least=1),
                checked_count(f"{field}.caps[{position}].max_count", cap.max_count, MAX_CAP_COUNT),
            )
            for position, cap in enumerate(message.caps)
        ),
    )
