"""The public keys that sign clients' tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.access.clients_file import MAX_FILE_BYTES
from twostage.rpc.settings import SettingsError

_MIN_RSA_BITS = 2048
# Members of a JWK that only a private one has: RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def parse_jwks(content: bytes, path: Path, algorithms: frozenset[str]) -> dict[str, jwt.PyJWK]:
    """Reads a JWK set.

    Keys that do not sign (``use`` other than ``sig``) and those of kinds and algorithms that are not asked for are
    left out, as https://www.rfc-editor.org/rfc/rfc7517#section-5 wants it.

    Args:
        content: JSON.
        path: Where it came from, for errors.
        algorithms: Those that may sign.

    Returns:
        The keys by their ``kid``, the empty text for one without. Each stands for exactly one algorithm.

    Raises:
        SettingsError: It is no JWK set, holds a secret or private key or an RSA key below 2,048 bits, names two keys
            alike, or no key is left.
    """

    def refuse(expected: str, received: str) -> SettingsError:
        return SettingsError(f"jwt.jwks_file: expected {expected}, received {received} in {path}")

    try:
        document: Any = json.loads(content[: MAX_FILE_BYTES + 1])
    except (ValueError, RecursionError) as error:
        raise refuse("a JWK set in JSON", "something else") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise refuse("a JWK set, {'keys': [...]}", "something else")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        if not _PRIVATE_MEMBERS.isdisjoint(entry) or entry.get("kty") == "oct":
            raise refuse("public keys", "a secret or private one")
        if entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK.from_dict(entry)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, NotImplementedError):
            continue
        if key.algorithm_name not in algorithms:
            continue
        if isinstance(key.key, rsa.RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
            raise refuse(f"RSA keys of {_MIN_RSA_BITS} bits and more", f"one of {key.key.key_size}")
        name = str(entry.get("kid", ""))
        if name in keys:
            raise refuse("a kid of its own for each key", f"{name!r} twice" if name else "several without one")
        keys[name] = key
    if not keys:
        raise refuse(f"a key for {', '.join(sorted(algorithms))}", "none")
    return keys
