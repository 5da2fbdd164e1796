"""What identifies people in a request, and how it is kept out of a defect's traceback.

Domain errors say themselves what may be logged. A defect's error may say anything, e.g. which key a dict lacked, and it
must be logged, because nothing else tells of it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.text_encoding import CEscape

CONCEALED = "[private]"
"""What stands in place of a private text."""
_PRIVATE_FIELDS = frozenset({"user_id"})
# Whoever sends more events than this in a request has them concealed as far as this.
_MOST_TEXTS = 2_000
# Shorter ones are concealed only where they stand alone: else a "1" would take the digits out of every line number.
_MIN_LOOSE_CHARS = 4


def private_texts(request: object) -> tuple[str, ...]:
    """The distinct texts of a request that identify people; none of what is no message."""
    if not isinstance(request, Message):
        return ()
    found: dict[str, None] = {}
    for text in _walk(request):
        found[text] = None
        if len(found) >= _MOST_TEXTS:
            break
    return tuple(found)


def concealed_traceback(error: BaseException, private: Sequence[str]) -> str | None:
    """The traceback of an error and of what caused it, without private texts.

    Args:
        error: The error.
        private: What must not be shown; as it is, or escaped as Python and protobuf write it.

    Returns:
        The traceback; None when it holds none of the texts, so that it may be shown as it is.
    """
    if not private:
        return None
    text = "".join(traceback.format_exception(error))
    forms = {form for each in private for form in _written(each)}
    shown = text
    for form in sorted(forms, key=len, reverse=True):
        if form not in shown:
            continue
        if len(form) >= _MIN_LOOSE_CHARS:
            shown = shown.replace(form, CONCEALED)
        else:
            shown = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", CONCEALED, shown)
    return shown if shown != text else None


def _written(text: str) -> Iterable[str]:
    content = text.encode("utf-8", "surrogatepass")
    return text, repr(text)[1:-1], ascii(text)[1:-1], CEscape(content, as_utf8=False), CEscape(content, as_utf8=True)


def _walk(message: Message) -> Iterator[str]:
    value: Any
    for field, value in message.ListFields():
        if field.name in _PRIVATE_FIELDS and isinstance(value, str):
            yield value
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not isinstance(value, Message):
            # Repeated; a map's values are no people.
            for each in value if not hasattr(value, "keys") else ():
                yield from _walk(each)
        elif isinstance(value, Message):
            yield from _walk(value)
