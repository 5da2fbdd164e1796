"""Which priority a caller has, before it was asked who it is."""

from __future__ import annotations

from collections.abc import Iterable

_CREDENTIALS = ("authorization", "x-api-key")
_MAX_COUNT = 4_096


class KnownPriorities:
    """Remembers the priorities of callers by the credentials that they sent, for refusing and for nothing else.

    Of the credentials nothing is kept but a hash that is another one in each process.

    Args:
        highest: The priority of a caller about whom nothing is known: the highest that any caller has.
        max_count: How many are remembered; then all are forgotten.
    """

    def __init__(self, highest: int, max_count: int = _MAX_COUNT) -> None:
        self.highest = highest
        self._max_count = max_count
        self._priorities: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._priorities)

    def note(self, metadata: Iterable[tuple[str, str | bytes]], priority: int) -> None:
        """Takes the priority of the caller that sent this metadata."""
        key = _key(metadata)
        if key is None:
            return
        if len(self._priorities) >= self._max_count and key not in self._priorities:
            self._priorities.clear()
        self._priorities[key] = priority

    def of(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> int:
        """The priority of the caller that sent this metadata, or the highest there is."""
        if not self._priorities:
            return self.highest
        key = _key(metadata or ())
        return self.highest if key is None else self._priorities.get(key, self.highest)


def _key(metadata: Iterable[tuple[str, str | bytes]]) -> int | None:
    found = [value for name, value in metadata if name in _CREDENTIALS]
    return hash(tuple(found)) if found else None
