"""Which pages of other origins may ask (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]

_MAX_AGE_SECONDS = 7_200
_ALLOWED_HEADERS = (
    "authorization, connect-protocol-version, connect-timeout-ms, content-type, traceparent, tracestate, x-api-key, "
    "x-request-id"
)


class Cors:
    """Answers browsers that ask for a page of another origin; with no origins nothing is said, which forbids it.

    Args:
        origins: Those that may, e.g. ``https://shop.example``; ``*`` among them for any.
    """

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        self._origins = origins

    def headers(self, origin: str | None) -> Headers:
        """What an answer says to a page of an origin."""
        if not self._origins:
            return
        # Answers differ by origin, so caches must keep them apart.
        yield b"vary", b"origin"
        if origin is not None and (origin in self._origins or "*" in self._origins):
            # The origin itself is among the configured ones or any may ask; credentials in cookies are never allowed.
            allowed = origin if origin in self._origins else "*"
            yield b"access-control-allow-origin", allowed.encode("latin-1", "replace")
            yield b"access-control-expose-headers", b"retry-after"

    def preflight(self, origin: str | None) -> Headers | None:
        """What a browser is told that asks whether it may ask; None when this origin may not."""
        if origin is None or not (origin in self._origins or "*" in self._origins):
            return None
        return [
            *self.headers(origin),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", _ALLOWED_HEADERS.encode()),
            (b"access-control-max-age", str(_MAX_AGE_SECONDS).encode()),
        ]
