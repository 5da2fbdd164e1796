"""The contract's bounds on lists, texts, rows, times and numbers, and how each is checked.

Every request passes here, so each check decides the usual case in as few steps as Python allows and looks for what is
wrong, and where, only when something is.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from twostage.errors import InvalidField

MAX_ID_BYTES = 256
"""Of an item's or a person's id, and of an attribute's value."""
MAX_ATTRIBUTE_BYTES = 128
"""Of an attribute's name, of the keys and values of a context, and of the names of events and answers."""
MAX_NAME_BYTES = 64
"""Of an action's or a ranker's name, and of a context's surface, device and locale."""
MAX_CANDIDATE_COUNT = 2_000
"""As many candidates as retrieval gives and ranking takes."""
MAX_HISTORY_COUNT = 1_000
MAX_TAG_COUNT = 64
MAX_EXCLUDED_ID_COUNT = 10_000
MAX_ATTRIBUTE_COUNT = 32
MAX_TIME_SECONDS = 253_402_300_799
"""The last second of the year 9999, where protobuf's timestamps end."""

# A character takes at most so many bytes of UTF-8, so that most texts need not be encoded to be measured.
_BYTES_PER_CHARACTER = 4


def checked_count(field: str, count: int, most: int, *, least: int = 1) -> int:
    """Returns a number within its bounds, both inclusive.

    Raises:
        InvalidField: It is outside.
    """
    if not least <= count <= most:
        raise InvalidField(field, f"{least} to {most}", count)
    return count


def check_length(field: str, entries: Sized, most: int, *, least: int = 0) -> None:
    """Refuses a list or a map with more than ``most`` or fewer than ``least`` entries.

    Raises:
        InvalidField: It has.
    """
    if not least <= len(entries) <= most:
        raise InvalidField(field, f"{least} to {most} entries" if least else f"at most {most} entries", len(entries))


def checked_text(field: str, text: str, most_bytes: int, *, least: int = 0) -> str:
    """Returns a text whose UTF-8 is not too long, and not empty where ``least`` is 1.

    Raises:
        InvalidField: It is.
    """
    if len(text) < least or (len(text) * _BYTES_PER_CHARACTER > most_bytes and len(text.encode()) > most_bytes):
        raise InvalidField(field, f"{least} to {most_bytes} bytes of UTF-8", text)
    return text


def checked_texts(
    field: str, texts: Sequence[str], most_count: int, most_bytes: int = MAX_ID_BYTES, *, least: int = 1
) -> list[str]:
    """Returns the texts as a list, copied once from the message.

    Args:
        field: The field's path; an entry is named by its position.
        texts: As they came.
        most_count: How many there may be.
        most_bytes: How many bytes of UTF-8 each may have.
        least: 1 refuses empty ones, 0 lets them pass.

    Raises:
        InvalidField: There are too many, or one is outside its bounds.
    """
    if not texts:
        return []
    check_length(field, texts, most_count)
    listed = list(texts)
    # Two passes in C decide for nearly all lists; only a suspicious one is walked through.
    if max(map(len, listed)) * _BYTES_PER_CHARACTER > most_bytes or (least and not all(listed)):
        for position, text in enumerate(listed):
            checked_text(f"{field}[{position}]", text, most_bytes, least=least)
    return listed


def checked_rows(
    field: str, rows: Sequence[int], most_count: int, *, item_count: int | None = None
) -> NDArray[np.uint32]:
    """Returns rows as uint32[len(rows)].

    Args:
        field: The field's path; a row is named by its position.
        rows: As they came.
        most_count: How many there may be.
        item_count: Rows must be below it; None when whoever reads them next checks.

    Raises:
        InvalidField: There are too many, or one is past the end of the catalogue.
    """
    check_length(field, rows, most_count)
    array = np.array(rows, np.uint32)
    if item_count is not None and len(array) and int(array.max()) >= item_count:
        position = int(np.argmax(array >= item_count))
        raise InvalidField(f"{field}[{position}]", f"a row below {item_count}", int(array[position]))
    return array


def checked_numbers(field: str, numbers: Sequence[float], *, nan_is_none: bool = False) -> NDArray[np.float32]:
    """Returns numbers as float32[len(numbers)].

    Args:
        field: The field's path; a number is named by its position.
        numbers: As they came.
        nan_is_none: True lets NaN pass, which then stands for no number.

    Raises:
        InvalidField: One is not finite.
    """
    array = np.array(numbers, np.float32)
    wrong = np.isinf(array) if nan_is_none else ~np.isfinite(array)
    if wrong.any():
        position = int(np.argmax(wrong))
        expected = "a finite number, or NaN for none" if nan_is_none else "a finite number"
        raise InvalidField(f"{field}[{position}]", expected, float(array[position]))
    return array


def checked_time(field: str, seconds: int) -> int:
    """Returns Unix seconds between 1970 and 9999.

    Raises:
        InvalidField: They are outside.
    """
    if not 0 <= seconds <= MAX_TIME_SECONDS:
        raise InvalidField(field, "a time from 1970 to 9999", seconds)
    return seconds
