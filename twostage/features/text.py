"""Text into tokens, the same way on every machine and in every process."""

from __future__ import annotations

import re
import unicodedata

PHRASE_TEXT_LENGTH = 160
"""Texts up to this many characters also yield phrases; longer ones are prose, whose clauses hardly ever repeat."""

_WORD = re.compile(r"[^\W_]+")
_PHRASE_END = re.compile(r"[()\[\]{}:;/,|#\u2013\u2014]+|\s-\s|\.\.\.")


def normalise(text: str) -> str:
    """Folds a text's case and compatibility forms (NFKC), so that equal words are equal strings."""
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    """The words and numbers of a text, in order, normalised; punctuation and underscores separate."""
    return _WORD.findall(normalise(text))


def phrases(text: str) -> list[str]:
    """The distinct phrases of a short text, in order.

    A title often carries a name that other items share: ``The Hunger Games (The Hunger Games, #1)`` yields
    ``the hunger games`` and ``1``, so that volumes of a series meet in one token.

    Args:
        text: Any text; one longer than PHRASE_TEXT_LENGTH characters yields nothing.
    """
    if len(text) > PHRASE_TEXT_LENGTH:
        return []
    parts = (" ".join(_WORD.findall(part)) for part in _PHRASE_END.split(normalise(text)))
    return list(dict.fromkeys(part for part in parts if part))
