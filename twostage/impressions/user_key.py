"""People in the log: a keyed hash stands for each, so that the log alone tells nobody's id."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

LEAST_SECRET_BYTES = 16
"""A shorter secret could be found by trying."""
_KEY_BYTES = 16
_SECRET_BYTES = 32


class UserKeys:
    """Turns ids of people, and of events, into keys: the first 128 bits of HMAC-SHA256 (RFC 2104), as 32 hex digits.

    The same secret gives the same keys in every process and every file, so that what a person was shown and what they
    did belong together. Who has the log and not the secret can neither tell nor try ids.

    Args:
        secret: At least 16 bytes; None makes no keys.

    Raises:
        ValueError: The secret is too short.
    """

    def __init__(self, secret: bytes | None) -> None:
        if secret is not None and len(secret) < LEAST_SECRET_BYTES:
            raise ValueError(f"expected a secret of at least {LEAST_SECRET_BYTES} bytes, received {len(secret)}")
        self._secret = secret

    @property
    def fingerprint(self) -> str:
        """Tells which secret it is without telling the secret: 8 hex digits; empty without one."""
        return "" if self._secret is None else self._digest("secret", "")[:8]

    def user(self, user_id: str) -> str:
        """The key of a person; empty for nobody in particular, and for everybody without a secret."""
        return self._digest("user", user_id) if user_id and self._secret is not None else ""

    def event(self, event_id: str, user_id: str) -> str:
        """The key of an event; event ids are callers' own and may spell out people's. Empty without a secret.

        Args:
            event_id: Names the event.
            user_id: Whose it is; ids of events need only differ within a person.
        """
        return self._digest("event", f"{event_id}\0{user_id}") if self._secret is not None else ""

    def _digest(self, kind: str, text: str) -> str:
        assert self._secret is not None
        return hmac.digest(self._secret, f"{kind}\0{text}".encode(), "sha256")[:_KEY_BYTES].hex()


def read_secret(path: Path) -> bytes:
    """Reads a secret from a file, without the white space around it.

    Raises:
        OSError: The file cannot be read.
    """
    return path.read_bytes().strip()


def make_secret(path: Path) -> None:
    """Makes a file with a new secret that its owner alone may read, unless there is a file already.

    Raises:
        OSError: The file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
