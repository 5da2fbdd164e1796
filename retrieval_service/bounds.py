"""Checks of a request's lists against the bounds that the contract states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twostage.errors import InvalidField

_MAX_BYTES_PER_CHARACTER = 4


def check_length(field: str, received_count: int, most: int) -> None:
    """Refuses a list that is too long.

    Raises:
        InvalidField: It has more than ``most`` entries.
    """
    if received_count > most:
        raise InvalidField(field, f"at most {most:,} entries", f"{received_count:,}")


def check_text(field: str, text: str, *, most_bytes: int, least_bytes: int = 0) -> None:
    """Refuses a text whose UTF-8 is too long or too short.

    Raises:
        InvalidField: It is outside the bounds.
    """
    # Counting bytes costs a copy, and hardly any text needs it.
    if len(text) * _MAX_BYTES_PER_CHARACTER <= most_bytes and (text or not least_bytes):
        return
    byte_count = len(text.encode())
    if not least_bytes <= byte_count <= most_bytes:
        raise InvalidField(field, f"{least_bytes} to {most_bytes} bytes of UTF-8", text or "an empty string")


def check_texts(
    field: str, texts: Sequence[str], *, most_count: int, most_bytes: int = 256, least_bytes: int = 1
) -> None:
    """Refuses a list of texts that is too long or holds a text outside the bounds.

    Raises:
        InvalidField: It is, or does; an entry is named by its position.
    """
    check_length(field, len(texts), most_count)
    if not texts:
        return
    # Two passes in C decide for nearly all lists; only a suspicious one is walked through.
    if max(map(len, texts)) * _MAX_BYTES_PER_CHARACTER <= most_bytes and (not least_bytes or all(texts)):
        return
    for position, text in enumerate(texts):
        check_text(f"{field}[{position}]", text, most_bytes=most_bytes, least_bytes=least_bytes)


def checked_rows(field: str, rows: Sequence[int], *, most_count: int, item_count: int) -> NDArray[np.uint32]:
    """Rows as an array.

    Raises:
        InvalidField: There are too many, or one is past the end of the catalogue; it is named by its position.
    """
    check_length(field, len(rows), most_count)
    array = np.array(rows, np.uint32)
    if len(array) and int(array.max()) >= item_count:
        position = int(np.argmax(array >= item_count))
        raise InvalidField(f"{field}[{position}]", f"a row below {item_count:,}", int(array[position]))
    return array
