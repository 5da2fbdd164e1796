"""JSON to messages and back, in the standard mapping (https://protobuf.dev/programming-guides/json/)."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from twostage.errors import InvalidField

M = TypeVar("M", bound=Message)

_MAX_DEPTH = 32
"""How deep a body may nest; the contract's messages nest five deep."""

_PARSED = re.compile(r"Failed to parse (\S+) field: ")
_PLACE = re.compile(r" at \w+\.(\S+?)\.?$")
_UNKNOWN = re.compile(r'Message type "[^"]*" has no field named "(?P<field>[^"]*)" at "\w+\.?(?P<place>[^"]*)"')


def read_message(body: bytes, kind: type[M]) -> M:
    """Reads a request.

    Fields may be spelled as in the protos or in lowerCamelCase; an unknown one is refused, for it is a slip that would
    change the answer without a word. An empty body is an empty message.

    Args:
        body: JSON in UTF-8.
        kind: The message's class.

    Raises:
        InvalidField: It is no JSON, or not that of the message; names the field where the fault is within one.
    """
    message = kind()
    if not body:
        return message
    try:
        parsed = json.loads(body.decode(), object_pairs_hook=_without_repeats)
        if not isinstance(parsed, dict):
            raise InvalidField("body", "an object", type(parsed).__name__)
        json_format.ParseDict(parsed, message, max_recursion_depth=_MAX_DEPTH)
    except SystemError:
        # So protobuf fails at a name with half of a surrogate pair, which JSON can spell.
        raise InvalidField("body", "names of whole characters", "half of a surrogate pair") from None
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise _refusal(error, kind) from None
    return message


def write_message(message: Message) -> bytes:
    """Writes an answer: lowerCamelCase names, fields of their default value left out, 64-bit integers as text."""
    content = json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":"))
    return content.encode()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are distinct: which of two values is meant nobody can know."""
    read = dict(pairs)
    if len(read) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(name for name, count in counts.items() if count > 1)} twice")
    return read


def _refusal(error: Exception, kind: type[Message]) -> InvalidField:
    text = str(error)
    unknown = _UNKNOWN.search(text)
    if unknown is not None:
        place = unknown["place"] and f"{unknown['place']}."
        return InvalidField(f"{place}{unknown['field']}", "a field of the contract", unknown["field"])
    path, rest = [], text
    while (found := _PARSED.match(rest)) is not None:
        path.append(found[1])
        rest = rest[found.end() :]
    field, at = ".".join(path), _PLACE.search(rest)
    if at is not None:
        # It knows the position in a list too.
        field, rest = at[1].rstrip("."), rest[: at.start()]
    if isinstance(error, RecursionError):
        rest = "one that nests too deep"
    return InvalidField(field or "body", f"JSON of {kind.DESCRIPTOR.full_name}", rest.rstrip("."))
