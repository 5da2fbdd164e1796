"""API keys: how they are made, and the hashes by which a server knows them.

A key is 32 random bytes, so nobody finds it by trying, and its hash needs no salt and no slowness: scrypt and its kin
make guesses at passwords dear, of which there are few likely ones; here each guess hits one of 2**256.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

KEY_PREFIX = "twostage_"
"""What keys begin with, so that scanners for secrets and people know what they see."""
MAX_KEY_CHARS = 256
"""Longer ones are refused without a look; keys of one's own making may have other lengths than ours."""
_KEY_BYTES = 32


def new_key() -> str:
    """Makes a key: the prefix and 43 letters, digits, ``-`` and ``_``."""
    return KEY_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode().rstrip("=")


def key_digest(key: str) -> bytes:
    """The SHA-256 of a key's UTF-8, 32 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
