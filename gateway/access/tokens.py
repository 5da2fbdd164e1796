"""Clients' tokens: JSON Web Tokens (RFC 7519) that an identity provider signed."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

MAX_TOKEN_CHARS = 8192
"""Longer ones are refused without a look."""
DEFAULT_CACHE_SIZE = 4096
"""How many tokens that were checked are remembered; about 300 bytes each."""


class TokenRefused(Exception):
    """A token is not believed.

    Args:
        kind: Why, as the metric has it: ``malformed``, ``algorithm``, ``unknown_key``, ``signature``, ``claims``,
            ``expired``, ``not_yet``.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class _Checked:
    client: str
    not_before: float
    expires_at: float


class TokenVerifier:
    """Says whom a token names; safe to use from several threads.

    Checking a signature costs tens of microseconds or more, so tokens that were found right are remembered, by their
    hash and until they expire. When the clock is set back or forward a remembered token is judged by the new time.

    Args:
        keys: Public keys by ``kid``; see `gateway.access.jwks.parse_jwks`.
        issuer: What ``iss`` must be.
        audience: What ``aud`` must be or contain.
        client_claim: The claim that names the client.
        algorithms: The algorithms that may sign.
        leeway_seconds: How much the clocks may differ.
        clock: Unix seconds; the system's by default.
        cache_size: How many tokens are remembered; those that were remembered first are forgotten first.
    """

    def __init__(
        self,
        keys: Mapping[str, jwt.PyJWK],
        *,
        issuer: str,
        audience: str,
        client_claim: str,
        algorithms: frozenset[str],
        leeway_seconds: float,
        clock: Callable[[], float] = time.time,
        cache_size: int = DEFAULT_CACHE_SIZE,
    ) -> None:
        self._keys = dict(keys)
        self._issuer = issuer
        self._audience = audience
        self._client_claim = client_claim
        self._algorithms = algorithms
        self._leeway = leeway_seconds
        self._clock = clock
        self._cache_size = cache_size
        self._cache: dict[bytes, _Checked] = {}
        self._lock = threading.Lock()

    @property
    def cached_count(self) -> int:
        """How many tokens are remembered."""
        return len(self._cache)

    def client_of(self, token: str) -> str:
        """The name of the client whom a token names.

        Raises:
            TokenRefused: It is not believed.
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise TokenRefused("malformed")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        checked = self._cache.get(digest)
        if checked is None:
            checked = self._check(token)
            self._require_now(checked)
            self._remember(digest, checked)
        else:
            self._require_now(checked, digest)
        return checked.client

    def _require_now(self, checked: _Checked, digest: bytes | None = None) -> None:
        now = self._clock()
        if now >= checked.expires_at + self._leeway:
            if digest is not None:
                with self._lock:
                    self._cache.pop(digest, None)
            raise TokenRefused("expired")
        if now < checked.not_before - self._leeway:
            raise TokenRefused("not_yet")

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        with self._lock:
            if digest not in self._cache and len(self._cache) >= self._cache_size:
                self._cache.pop(next(iter(self._cache)))
            self._cache[digest] = checked

    def _check(self, token: str) -> _Checked:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefused("malformed") from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            # Not what the token says but what we trust: "none" and HS256 under a public key end here.
            raise TokenRefused("algorithm")
        key = self._key(header)
        if key.algorithm_name != algorithm:
            raise TokenRefused("algorithm")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                # Times are checked here, by a clock that tests can set, and again whenever the token comes.
                options={
                    "require": ["exp", "iss", "aud", self._client_claim],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise TokenRefused("signature") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
            raise TokenRefused("claims") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenRefused("malformed") from None
        client = claims[self._client_claim]
        if not isinstance(client, str) or not client:
            raise TokenRefused("claims")
        not_before = max(_seconds(claims, "nbf", -math.inf), _seconds(claims, "iat", -math.inf))
        return _Checked(client, not_before, _seconds(claims, "exp", None))

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        name = header.get("kid")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key = self._keys.get(name) if isinstance(name, str) else self._keys.get("")
        if key is None:
            raise TokenRefused("unknown_key")
        return key


def _seconds(claims: Mapping[str, Any], name: str, default: float | None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("claims")
    if isinstance(value, float) and math.isnan(value):
        raise TokenRefused("claims")
    try:
        return float(value)
    except OverflowError:
        raise TokenRefused("claims") from None
