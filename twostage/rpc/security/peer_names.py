"""Which of those whose certificates the authority signed may call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twostage.errors import PermissionDenied
from twostage.rpc.gates import Leave

# One entry for each kind of client; a flood of certificates is no reason to grow.
_MOST_KNOWN = 256


class PeerNames:
    """A gate that lets clients in by the names in their certificates.

    The names are those of the certificate's subjectAltName (DNS names, URIs, addresses), or its common name where it
    has none, as https://www.rfc-editor.org/rfc/rfc6125#section-6.4.4 has it. They are compared letter by letter; there
    are no wild cards.

    Args:
        allowed: The names, at least one; one that fits is enough.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(name.encode() for name in allowed)
        self._known: set[tuple[bytes, ...]] = set()

    def enter(self, method: str, context: Any) -> Leave | None:
        """Lets a call in; see `twostage.rpc.gates.Gate`.

        Raises:
            PermissionDenied: The client's certificate carries none of the names.
        """
        del method
        names = tuple(context.peer_identities() or ())
        if names in self._known:
            return None
        if self._allowed.isdisjoint(names):
            raise PermissionDenied("the name in the client's certificate is none of those that may call")
        if len(self._known) < _MOST_KNOWN:
            self._known.add(names)
        return None
