"""The exceptions that Twostage's domain code raises, free of gRPC so that pure engines can raise them.

::

    Exception
    └── TwostageError                what a caller may be told; never raised itself
        ├── InvalidField             a field of the request is wrong; may carry several violations
        ├── NotFound                 a thing asked for by name does not exist
        │   ├── ItemNotFound
        │   └── UserNotFound
        ├── GenerationNotLoaded      another generation is wanted than those held here
        ├── NotWhole                 all of a catalogue is asked of a server that holds a part of it
        ├── NotReady                 loading, draining, or a dependency is not there
        ├── Overloaded               over capacity; says when to try again
        ├── DeadlineSpent            the caller's time is over
        ├── Unauthenticated          no or wrong credentials
        └── PermissionDenied         known caller, not allowed

`twostage.rpc.errors` maps each class to a gRPC status. Anything outside this tree is a bug and reaches the caller
as INTERNAL with a fixed message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

# A status travels in HTTP/2 trailers, which peers bound to 8 KiB; these keep every error well below it.
_MAX_RECEIVED_CHARS = 80
_MAX_FIELD_CHARS = 100
_MAX_EXPECTED_CHARS = 120
_MAX_MESSAGE_CHARS = 300
_MAX_VIOLATIONS = 5
_MAX_HELD = 16


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


class TwostageError(Exception):
    """A failure that the caller may be told about.

    Attributes:
        reason: A stable upper-case word that clients can switch on (the ErrorInfo's reason).
        metadata: Machine-readable facts for the caller, at most a handful of short strings.
    """

    reason: ClassVar[str]
    # Keys of `metadata` that identify people; they go to the caller and never into a log.
    private_keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(_clip(message, _MAX_MESSAGE_CHARS))
        self.metadata: dict[str, str] = dict(metadata or {})

    @property
    def message(self) -> str:
        """One sentence for the caller, at most 300 characters."""
        return str(self.args[0])

    @property
    def loggable(self) -> dict[str, str]:
        """What the log may hold: the metadata without what identifies people."""
        return {key: value for key, value in self.metadata.items() if key not in self.private_keys}


@dataclass(frozen=True)
class Violation:
    """What is wrong with one field.

    Args:
        field: The field's path in the request, e.g. ``filter.conditions[2].any_of``; clipped to 100 characters.
        expected: What would have been right, e.g. ``1 to 200``; clipped to 120 characters.
        received: What came; shown with ``repr`` and clipped to 80 characters.
    """

    field: str
    expected: str
    received: object

    @property
    def description(self) -> str:
        """Expectation and reception in one phrase."""
        expected = _clip(self.expected, _MAX_EXPECTED_CHARS)
        # repr of a megabyte costs milliseconds, so cut what can be cut first.
        received = self.received[: _MAX_RECEIVED_CHARS + 1] if isinstance(self.received, str) else self.received
        return f"expected {expected}, received {_clip(repr(received), _MAX_RECEIVED_CHARS)}"


class InvalidField(TwostageError):
    """A field of the request breaks the contract.

    Args:
        field: The field's path in the request.
        expected: What would have been right.
        received: What came.
    """

    reason = "INVALID_FIELD"

    def __init__(self, field: str, expected: str, received: object) -> None:
        self.tell([Violation(field, expected, received)])

    @classmethod
    def several(cls, violations: Iterable[Violation]) -> InvalidField:
        """Makes one error of several violations; those beyond the fifth are counted, not listed.

        Raises:
            ValueError: There is no violation.
        """
        first, *others = violations
        error = cls(first.field, first.expected, first.received)
        error.tell([first, *others])
        return error

    def tell(self, violations: Sequence[Violation]) -> None:
        """Replaces what this error says by these violations, at least one."""
        self.violations: tuple[Violation, ...] = tuple(
            replace(violation, field=_clip(violation.field, _MAX_FIELD_CHARS))
            for violation in violations[:_MAX_VIOLATIONS]
        )
        texts = [f"{violation.field}: {violation.description}" for violation in self.violations]
        if len(violations) > _MAX_VIOLATIONS:
            texts.append(f"and {len(violations) - _MAX_VIOLATIONS} more")
        fields = ",".join(violation.field for violation in self.violations)
        TwostageError.__init__(self, "; ".join(texts), {"fields": fields})


class NotFound(TwostageError):
    """A thing that was asked for by name does not exist; raise one of its subclasses."""

    reason = "NOT_FOUND"


class ItemNotFound(NotFound):
    """The catalogue of the generation asked has no such item.

    Args:
        item_id: The id that was asked for.
    """

    reason = "ITEM_NOT_FOUND"

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        shown = _clip(item_id, _MAX_RECEIVED_CHARS)
        super().__init__(f"item_id: expected an item of the catalogue, received {shown!r}", {"item_id": shown})


class UserNotFound(NotFound):
    """Nothing is stored about this user.

    Args:
        user_id: The id that was asked for.
    """

    reason = "USER_NOT_FOUND"
    private_keys = frozenset({"user_id"})

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        shown = _clip(user_id, _MAX_RECEIVED_CHARS)
        super().__init__(f"user_id: expected a known user, received {shown!r}", {"user_id": shown})


class GenerationNotLoaded(TwostageError):
    """The generation that the request names is not held here.

    Args:
        wanted: The generation that was asked for.
        held: The generations that are held, any order; the newest 16 are told.
    """

    reason = "GENERATION_NOT_LOADED"

    def __init__(self, wanted: int, held: Iterable[int]) -> None:
        self.wanted = wanted
        self.held: tuple[int, ...] = tuple(sorted(held)[-_MAX_HELD:])
        shown = ",".join(map(str, self.held))
        super().__init__(
            f"generation: expected one of [{shown}], received {wanted}", {"wanted": str(wanted), "held": shown}
        )


class NotWhole(TwostageError):
    """All of a catalogue is asked of a server that holds one shard of it.

    Args:
        shard_index: Which one it holds, from 0.
        shard_count: How many there are.
    """

    reason = "NOT_WHOLE"

    def __init__(self, shard_index: int, shard_count: int) -> None:
        super().__init__(
            f"shard: expected to be asked as a shard, for this server holds shard {shard_index} of {shard_count}",
            {"shard_index": str(shard_index), "shard_count": str(shard_count)},
        )


class NotReady(TwostageError):
    """The server cannot answer now and may soon: it loads, drains, or misses a dependency.

    Args:
        why: What is missing, e.g. ``loading generation 7`` or ``the model server does not answer``.
        detail: What only operators should read, e.g. addresses; it goes into the log and never to the caller. Empty
            when there is nothing more to say.
    """

    reason = "NOT_READY"

    def __init__(self, why: str, detail: str = "") -> None:
        self.why = why
        self.detail = detail
        super().__init__(f"not ready: {why}")

    @property
    def loggable(self) -> dict[str, str]:
        """Why, and the detail."""
        told = {**super().loggable, "why": _clip(self.why, _MAX_MESSAGE_CHARS)}
        if self.detail:
            told["detail"] = _clip(self.detail, _MAX_MESSAGE_CHARS)
        return told


class Overloaded(TwostageError):
    """The request was refused because the server is at its capacity.

    Args:
        retry_after_seconds: When to try again at the earliest, 0 or more.
    """

    reason = "OVERLOADED"

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = max(0.0, retry_after_seconds)
        super().__init__(f"over capacity: try again in {self.retry_after_seconds:.3f} s")


class DeadlineSpent(TwostageError):
    """The caller's deadline has passed, or what is left of it is too short to start.

    Args:
        during: What was about to be done, e.g. ``before retrieval``.
    """

    reason = "DEADLINE_SPENT"

    def __init__(self, during: str = "before the work began") -> None:
        super().__init__(f"no time left: the deadline was spent {during}")


class Unauthenticated(TwostageError):
    """The request carries no or wrong credentials.

    Args:
        why: What is wrong with them; never the credentials.
    """

    reason = "UNAUTHENTICATED"

    def __init__(self, why: str = "no valid credentials were given") -> None:
        super().__init__(f"unauthenticated: {why}")


class PermissionDenied(TwostageError):
    """The caller is known and may not do this.

    Args:
        why: What is not allowed.
    """

    reason = "PERMISSION_DENIED"

    def __init__(self, why: str = "the caller may not do this") -> None:
        super().__init__(f"permission denied: {why}")
