"""How a store remembers whom to bring back no more, without their names.

Histories that training wrote hold people who were forgotten since. So that an import leaves them out, a store keeps a
digest of each, under a key of its own: it says who was forgotten to those alone who hold the store and have an id to
compare.
"""

from __future__ import annotations

import hashlib

KEY_BYTES = 32
"""The length of a store's key, drawn at random once."""


def person_digest(key: bytes, user_id: str) -> bytes:
    """A person's digest, 16 bytes of keyed BLAKE2b (RFC 7693).

    Args:
        key: The store's own, 32 random bytes.
        user_id: Who.
    """
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=16).digest()
