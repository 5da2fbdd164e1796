"""Why a generation is refused, in one line."""

from __future__ import annotations

from twostage.errors import NotReady

DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
"""Errors that say nothing without their kind and traceback."""

_MAX_CHARS = 300


def reason_of(error: Exception) -> str:
    """An error's message in one line, with its kind where that is needed and what only operators are told."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NotReady) and error.detail:
        text = f"{text} ({' '.join(error.detail.split())})"
    if isinstance(error, DEFECTS):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"
