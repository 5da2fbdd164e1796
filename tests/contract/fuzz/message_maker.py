"""Messages of any type, made from its descriptor: likely ones, bounds and just past them, and nonsense."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

_INT_BITS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64 - 1),
}
_FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-320, 1e30, 3.5e38, -1e300, math.nan, math.inf, -math.inf)
_TEXTS = (
    "",
    " ",
    "a",
    "\x00",
    "\n",
    "'; DROP TABLE users; --",
    "${jndi}",
    "%s%n",
    "../../etc/passwd",
    "\u202e",
    "é" * 64,
)
# Lengths that bounds of the contract lie at, and one past them.
_TEXT_LENGTHS = (63, 64, 65, 127, 128, 129, 255, 256, 257, 5_000)
_COUNTS = (8, 9, 31, 32, 33, 64, 65, 200, 201, 1_000, 1_001)


class MessageMaker:
    """Makes messages by chance; the same seed makes the same ones.

    Args:
        seed: Of everything that is drawn.
        likely: Values that are likely to be right, by a field's name, or a map entry's with ``.key`` or ``.value``.
        needed: Names of fields that are mostly set.
    """

    def __init__(self, seed: int, likely: Mapping[str, Sequence[Any]], needed: Collection[str] = ()) -> None:
        self._random = random.Random(seed)
        self._likely = likely
        self._needed = frozenset(needed)
        self._long_list_count = 0

    def make(self, message_type: type[M]) -> M:
        """Makes one: mostly right with few fields wrong, or wild altogether."""
        message = message_type()
        self._long_list_count = 1
        wildness = self._random.choice((0.0, 0.02, 0.1, 0.5, 1.0))
        self._fill(message, message_type.DESCRIPTOR, wildness, depth=0)
        return message

    def spoil(self, content: bytes) -> bytes:
        """Changes bytes of a message on the wire: flipped, cut off, doubled or put in between."""
        spoilt = bytearray(content)
        for _ in range(self._random.randint(1, 4)):
            place = self._random.randint(0, len(spoilt))
            match self._random.randrange(4):
                case 0 if spoilt:
                    spoilt[place % len(spoilt)] ^= 1 << self._random.randrange(8)
                case 1:
                    del spoilt[place:]
                case 2:
                    spoilt[place:place] = self._random.randbytes(self._random.randint(1, 9))
                case _:
                    spoilt[place:place] = spoilt[: self._random.randint(0, 40)]
        return bytes(spoilt)

    def _fill(self, message: Message, descriptor: Any, wildness: float, depth: int) -> None:
        for field in descriptor.fields:
            # Fields that a method cannot do without are mostly there: else nothing behind them would ever be reached.
            if self._random.random() > (0.95 if field.name in self._needed else 0.4 if depth == 0 else 0.7):
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self._fill_map(getattr(message, field.name), field.message_type, wildness)
            elif field.is_repeated:
                self._fill_list(getattr(message, field.name), field, wildness, depth)
            elif field.message_type is not None:
                getattr(message, field.name).SetInParent()
                self._fill(getattr(message, field.name), field.message_type, wildness, depth + 1)
            else:
                setattr(message, field.name, self._value(field, wildness))

    def _fill_map(self, entries: Any, entry_type: Any, wildness: float) -> None:
        key, value = entry_type.fields_by_name["key"], entry_type.fields_by_name["value"]
        for _ in range(self._count(wildness)):
            name = self._value(key, wildness, f"{entry_type.name}.key")
            entries[name] = self._value(value, wildness, f"{entry_type.name}.value")

    def _fill_list(self, values: Any, field: FieldDescriptor, wildness: float, depth: int) -> None:
        count = self._count(wildness)
        if field.message_type is not None:
            for _ in range(min(count, 40)):
                self._fill(values.add(), field.message_type, wildness, depth + 1)
            return
        if count > 40:
            # One value many times, and a short one: what is long is the list.
            value = self._value(field, wildness)
            values.extend([value[:300] if isinstance(value, str) else value] * count)
        else:
            values.extend(self._value(field, wildness) for _ in range(count))

    def _count(self, wildness: float) -> int:
        # Lists of lists at their bounds would be more than any server takes.
        if self._long_list_count and self._random.random() < wildness / 4:
            self._long_list_count -= 1
            return self._random.choice(_COUNTS)
        return self._random.randint(0, 3)

    def _value(self, field: FieldDescriptor, wildness: float, name: str = "") -> Any:
        likely = self._likely.get(name or field.name)
        if likely is not None and self._random.random() >= wildness:
            return self._random.choice(likely)
        kind = field.type
        if kind in _INT_BITS:
            return self._integer(*_INT_BITS[kind])
        if kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
            return self._float(3.4e38 if kind == FieldDescriptor.TYPE_FLOAT else 1.7e308)
        if kind == FieldDescriptor.TYPE_BOOL:
            return self._random.random() < 0.5
        if field.enum_type is not None:
            # proto3 keeps numbers that it does not know.
            return self._random.choice([*(each.number for each in field.enum_type.values), 99, -1])
        assert kind == FieldDescriptor.TYPE_STRING, field.full_name
        return self._text()

    def _integer(self, least: int, most: int) -> int:
        choices: tuple[Callable[[], int], ...] = (
            lambda: self._random.randint(-2, 3),
            lambda: self._random.choice((least, most, 200, 201, 1_000_000, 2**31 - 1)),
            lambda: self._random.randint(least, most),
        )
        return min(max(self._random.choice(choices)(), least), most)

    def _float(self, most: float) -> float:
        value = self._random.choice(_FLOATS) if self._random.random() < 0.7 else self._random.uniform(-1, 1)
        return value if not math.isfinite(value) else min(max(value, -most), most)

    def _text(self) -> str:
        if self._random.random() < 0.3:
            return self._random.choice(("x", "é", "𝄞")) * self._random.choice(_TEXT_LENGTHS)
        if self._random.random() < 0.5:
            return self._random.choice(_TEXTS)
        return "".join(chr(self._random.choice((self._random.randrange(1, 0xD800), 0x10FFFF))) for _ in range(3))
