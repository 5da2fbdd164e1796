"""The ASGI application: paths to methods, headers to metadata, errors to statuses.

::

    POST /v1/recommend {json} ──▶ message ──▶ gRPC, with the caller's credentials and deadline ──▶ message ──▶ {json}

The paths of gRPC, ``/twostage.v1.RecommendationService/Recommend``, lead to the same: clients of the Connect protocol
ask there (https://connectrpc.com/docs/protocol#unary-request).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from structlog.typing import FilteringBoundLogger

from gateway.http.bodies import read_message, write_message
from gateway.http.calls import METHODS, Calls, Method
from gateway.http.cors import Cors
from gateway.http.errors import HttpError, of_field
from gateway.http.metrics import HttpMetrics
from twostage.errors import InvalidField
from twostage.rpc.tracing.current import RequestSpan, Tracer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPENAPI = Path(__file__).with_name("openapi.json")

PASSED_ON = ("authorization", "x-api-key", "x-request-id")
"""Headers that the gateway gets as metadata."""
_TRACE = ("traceparent", "tracestate")
"""Headers that say which trace a request belongs to (https://www.w3.org/TR/trace-context/)."""
MAX_TIMEOUT_DIGITS = 10
"""As the Connect protocol bounds ``Connect-Timeout-Ms``."""

_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
# Reading a longer one takes milliseconds in which others would wait.
_LONG_BODY_BYTES = 64 * 1024
_BY_PATH: dict[str, Method] = {
    path: method for method in METHODS.values() for path in (method.plain_path, method.rpc_path)
}
_OTHER = "other"
_FAILURES = {503: grpc.StatusCode.UNAVAILABLE, 504: grpc.StatusCode.DEADLINE_EXCEEDED}


@dataclass(slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: Iterable[tuple[bytes, bytes]] = ()


class App:
    """Answers requests.

    Args:
        calls: The gateway.
        metrics: Counted for every request.
        max_body_bytes: The largest request body.
        body_seconds: How long a caller may take to send one.
        cors: Which pages may ask.
        tracer: Begins a span for every call; nothing is traced here when None, and callers' traces are passed on.
        logger: Told of defects; structlog's default when unset.

    Attributes:
        draining: True makes ``/readyz`` say that this server is about to stop.
    """

    def __init__(
        self,
        calls: Calls,
        metrics: HttpMetrics,
        *,
        max_body_bytes: int,
        body_seconds: float,
        cors: Cors | None = None,
        logger: FilteringBoundLogger | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.draining = False
        self._tracer = tracer
        self._calls = calls
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._cors = cors if cors is not None else Cors()
        self._logger: FilteringBoundLogger = logger if logger is not None else structlog.get_logger()
        self._openapi = OPENAPI.read_bytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; see https://asgi.readthedocs.io/en/latest/specs/www.html."""
        if scope["type"] != "http":
            raise ValueError(f"scope type: expected http, received {scope['type']}")
        started = time.perf_counter()
        method = _BY_PATH.get(scope["path"])
        name = _OTHER if method is None else method.name
        status = 499
        headers = _Headers(scope["headers"])
        span = None
        if self._tracer is not None and method is not None:
            span = self._tracer.begin(method.rpc_path.removeprefix("/"), headers.of_trace())
        try:
            with self._metrics.in_flight.track_inprogress():
                answer = await self._answered(scope, method, headers, receive, span)
                status = answer.status
                await self._send(answer, headers, send, with_body=scope["method"] != "HEAD")
        finally:
            self._metrics.answered(name, status, time.perf_counter() - started, span.exemplar if span else None)
            if span is not None:
                span.note(http_status=status)
                span.finish(_code_of(status), {}, None)

    async def _answered(
        self, scope: Scope, method: Method | None, headers: _Headers, receive: Receive, span: RequestSpan | None
    ) -> _Answer:
        try:
            if scope["method"] == "OPTIONS":
                return self._preflight(headers)
            if method is None:
                return await self._other(scope)
            trace = span.metadata if span is not None else headers.of_trace()
            return await self._call(scope["method"], method, headers, receive, trace)
        except HttpError as error:
            return _refused(error)
        except InvalidField as error:
            return _refused(of_field(error))
        except Exception:
            # Whatever else happens is a defect of ours; the caller learns no more than that.
            self._logger.exception("answering failed", path=scope["path"][:128])
            return _Answer(500, HttpError(grpc.StatusCode.INTERNAL, "internal error").body())

    async def _call(
        self, verb: str, method: Method, headers: _Headers, receive: Receive, trace: Iterable[tuple[str, str]]
    ) -> _Answer:
        if verb != "POST":
            raise _not_allowed("POST")
        content_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
        if content_type != _JSON.decode():
            words = f"content-type: expected application/json, received {content_type[:80] or 'none'}"
            raise HttpError(grpc.StatusCode.INVALID_ARGUMENT, words, status=415, headers=[(b"accept-post", _JSON)])
        encoding = (headers.get("content-encoding") or "identity").lower()
        if encoding not in {"identity", "gzip"}:
            words = f"content-encoding: expected gzip or none, received {encoding[:80]}"
            raise HttpError(grpc.StatusCode.UNIMPLEMENTED, words, status=415, headers=[(b"accept-encoding", b"gzip")])
        timeout_seconds = _timeout(headers)
        metadata = [*headers.passed_on(), *trace]
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        body = await self._body(headers, receive)
        if encoding == "gzip":
            body = self._unpacked(body)
        if len(body) > _LONG_BODY_BYTES:
            request = await asyncio.to_thread(read_message, body, method.request)
        else:
            request = read_message(body, method.request)
        if deadline is not None:
            timeout_seconds = max(deadline - time.monotonic(), 0.0)
        response = await _unless_gone(self._calls.call(method, request, timeout_seconds, metadata), receive)
        return _Answer(200, write_message(response))

    async def _body(self, headers: _Headers, receive: Receive) -> bytes:
        length = headers.get("content-length")
        if length is not None and length.isascii() and length.isdecimal() and int(length) > self._max_body_bytes:
            raise self._too_large(f"{length} bytes")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise HttpError(grpc.StatusCode.CANCELLED, "the caller went before it had asked")
                    parts.append(event.get("body", b""))
                    size += len(parts[-1])
                    if size > self._max_body_bytes:
                        raise self._too_large("more")
                    if not event.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            words = f"body: expected all of it within {self._body_seconds:g} s, received {size} bytes"
            raise HttpError(grpc.StatusCode.DEADLINE_EXCEEDED, words, status=408, headers=_CLOSE) from None

    def _unpacked(self, body: bytes) -> bytes:
        """A body that came in gzip; no more of it is unpacked than a body may have."""
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            unpacked = unpacker.decompress(body, self._max_body_bytes + 1)
        except zlib.error as error:
            raise InvalidField("body", "gzip, as content-encoding says", str(error)) from None
        if len(unpacked) > self._max_body_bytes:
            raise self._too_large("more in gzip")
        if not unpacker.eof:
            raise InvalidField("body", "gzip, as content-encoding says", "a part of it")
        return unpacked

    def _too_large(self, received: str) -> HttpError:
        words = f"body: expected at most {self._max_body_bytes} bytes, received {received}"
        return HttpError(grpc.StatusCode.RESOURCE_EXHAUSTED, words, status=413, headers=_CLOSE)

    async def _other(self, scope: Scope) -> _Answer:
        path = scope["path"]
        if path not in {"/openapi.json", "/healthz", "/readyz"}:
            words = f"path: expected one of {', '.join(_paths())}, received {path[:80]!r}"
            raise HttpError(grpc.StatusCode.UNIMPLEMENTED, words, status=404)
        if scope["method"] not in {"GET", "HEAD"}:
            raise _not_allowed("GET, HEAD")
        if path == "/openapi.json":
            return _Answer(200, self._openapi)
        if path == "/healthz":
            return _Answer(200, b"ok\n", _TEXT)
        if self.draining:
            return _Answer(503, b"stopping\n", _TEXT)
        if not await self._calls.serving():
            return _Answer(503, b"the gateway does not serve\n", _TEXT)
        return _Answer(200, b"ok\n", _TEXT)

    def _preflight(self, headers: _Headers) -> _Answer:
        allowed = self._cors.preflight(headers.get("origin"))
        if allowed is None:
            raise _not_allowed("GET, HEAD, POST")
        return _Answer(204, b"", headers=allowed)

    async def _send(self, answer: _Answer, headers: _Headers, send: Send, *, with_body: bool) -> None:
        told = [(b"content-type", answer.content_type), (b"content-length", str(len(answer.body)).encode())]
        # What a browser must not take for a page, whatever a title says.
        told.append((b"x-content-type-options", b"nosniff"))
        if answer.status == 204:
            told = []
        else:
            told += self._cors.headers(headers.get("origin"))
        await send({"type": "http.response.start", "status": answer.status, "headers": [*told, *answer.headers]})
        await send({"type": "http.response.body", "body": answer.body if with_body else b""})


_CLOSE = ((b"connection", b"close"),)


class _Headers:
    """A request's headers by lower-case name."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]

    def get(self, name: str) -> str | None:
        """The first of a name; None when there is none."""
        return next((value for known, value in self._pairs if known == name), None)

    def of_trace(self) -> list[tuple[str, str]]:
        """Which trace the request belongs to; what cannot be metadata is no trace's and is left out."""
        return [
            (name, value) for name, value in self._pairs if name in _TRACE and value.isascii() and value.isprintable()
        ]

    def passed_on(self) -> list[tuple[str, str]]:
        """What the gateway gets as metadata, repeated ones included: it is for the gateway to refuse them.

        Raises:
            InvalidField: One cannot be metadata.
        """
        found = [(name, value) for name, value in self._pairs if name in PASSED_ON]
        for name, value in found:
            if not (value.isascii() and value.isprintable()):
                # Never the value: it may be a secret.
                raise InvalidField(name, "printable ASCII", "something else")
        return found


def _timeout(headers: _Headers) -> float | None:
    """The caller's deadline in seconds; None when it states none."""
    text = headers.get("connect-timeout-ms")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_TIMEOUT_DIGITS):
        raise InvalidField("connect-timeout-ms", f"milliseconds of at most {MAX_TIMEOUT_DIGITS} digits", text)
    return int(text) / 1000


async def _unless_gone(call: Awaitable[Any], receive: Receive) -> Any:
    """What a call answers; it is given up when the caller hangs up, who would otherwise cost as much as those who wait.

    Raises:
        HttpError: The caller has gone, or what the call raises.
    """
    working = asyncio.ensure_future(call)
    hanging_up = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HttpError(grpc.StatusCode.CANCELLED, "the caller has gone")
    finally:
        working.cancel()
        hanging_up.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _code_of(status: int) -> grpc.StatusCode:
    """The code of a span that ended with an HTTP status: what is a server's failure and what a caller's."""
    if status < 400:
        return grpc.StatusCode.OK
    if status == 499:
        return grpc.StatusCode.CANCELLED
    if status < 500:
        return grpc.StatusCode.INVALID_ARGUMENT
    return _FAILURES.get(status, grpc.StatusCode.INTERNAL)


def _refused(error: HttpError) -> _Answer:
    return _Answer(error.status, error.body(), headers=error.headers)


def _not_allowed(allowed: str) -> HttpError:
    words = f"HTTP method: expected {allowed}, received another"
    return HttpError(grpc.StatusCode.UNIMPLEMENTED, words, status=405, headers=[(b"allow", allowed.encode())])


def _paths() -> list[str]:
    return [*(method.plain_path for method in METHODS.values()), "/openapi.json", "/healthz", "/readyz"]
