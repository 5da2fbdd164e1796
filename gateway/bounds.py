"""The contract's bounds on strings, lists and times."""

from __future__ import annotations

from collections.abc import Sequence

from twostage.errors import InvalidField

MAX_TIME_SECONDS = 253_402_300_799
"""The last second of the year 9999, where protobuf's timestamps end."""


def checked_text(field: str, text: str, max_bytes: int, *, least: int = 0) -> str:
    """Returns a string of at least ``least`` and at most ``max_bytes`` bytes of UTF-8.

    Raises:
        InvalidField: It is shorter or longer.
    """
    # A string has at most four bytes a character, so that most need not be encoded to be measured.
    if len(text) < least or (4 * len(text) > max_bytes and len(text.encode()) > max_bytes):
        raise InvalidField(field, f"{least} to {max_bytes} bytes of UTF-8", text)
    return text


def checked_texts(field: str, texts: Sequence[str], max_count: int, max_bytes: int, *, least: int = 0) -> Sequence[str]:
    """Returns the strings as a list when neither their number nor one of them breaks a bound.

    Raises:
        InvalidField: There are too many, or one is too short or too long.
    """
    if not texts:
        return ()
    if len(texts) > max_count:
        raise InvalidField(field, f"at most {max_count} entries", f"{len(texts)} entries")
    listed = list(texts)
    for position, text in enumerate(listed):
        if len(text) < least or 4 * len(text) > max_bytes:
            checked_text(f"{field}[{position}]", text, max_bytes, least=least)
    return listed


def checked_time(field: str, seconds: int) -> int:
    """Returns Unix seconds between 1970 and 9999.

    Raises:
        InvalidField: They are outside.
    """
    if not 0 <= seconds <= MAX_TIME_SECONDS:
        raise InvalidField(field, "a time from 1970 to 9999", seconds)
    return seconds
