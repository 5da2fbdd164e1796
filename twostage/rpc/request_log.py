"""The one structured event that a request gets, and which requests get one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import grpc
from structlog.typing import FilteringBoundLogger

from twostage.errors import TwostageError
from twostage.rpc.private_texts import concealed_traceback, private_texts

_OK = grpc.StatusCode.OK
BUGS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})
"""Codes that tell of a defect."""
# What the caller did, not the server: worth an event, not a warning.
_CALLERS_DOING = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


@dataclass(frozen=True)
class RequestLogging:
    """Which requests are logged.

    Args:
        requests: ``errors`` for failed and slow ones, ``all`` for every one.
        slow_seconds: From which duration on a request counts as slow.
        failures_per_second: At most so many failed requests are logged per second and code; the next event says how
            many were left out. A flood of refusals must stay cheaper than the work that is refused. Bugs are always
            logged.
    """

    requests: Literal["all", "errors"] = "errors"
    slow_seconds: float = 0.25
    failures_per_second: int = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended.

    Args:
        method: ``package.Service/Method``.
        code: What the caller was told.
        seconds: How long the work took.
        facts: What the servicer attached.
        error: What it raised, if anything.
        request_id: The caller's ``x-request-id``, if any.
        request: The message that was asked; None where it could not be read. People whom it names are kept out of a
            defect's traceback.
    """

    method: str
    code: grpc.StatusCode
    seconds: float
    facts: dict[str, object]
    error: Exception | None
    request_id: str | None
    request: object = None


class RequestLog:
    """Writes the events.

    Args:
        policy: Which requests are logged.
        logger: Where.
    """

    def __init__(self, policy: RequestLogging, logger: FilteringBoundLogger) -> None:
        self.policy = policy
        self._logger = logger
        self._windows: dict[grpc.StatusCode, list[int]] = {}

    def wants(self, code: grpc.StatusCode, seconds: float) -> bool:
        """Says whether a request may be logged, before anything is spent on its event."""
        return code is not _OK or seconds >= self.policy.slow_seconds or self.policy.requests == "all"

    def write(self, outcome: Outcome) -> None:
        """Logs one request: INFO when it went well or the caller erred, WARNING when refused, ERROR for a bug."""
        code, error = outcome.code, outcome.error
        event: dict[str, object] = {"method": outcome.method, "code": code.name, "ms": round(outcome.seconds * 1e3, 3)}
        if outcome.request_id is not None:
            event["request_id"] = outcome.request_id
        event |= {key: value for key, value in outcome.facts.items() if key != "event"}
        if code is _OK:
            slow = outcome.seconds >= self.policy.slow_seconds
            self._logger.info("slow request" if slow else "request", **event)
            return
        if isinstance(error, TwostageError):
            event |= {"reason": error.reason, **error.loggable}
        if code in BUGS:
            # Never left out: each is a defect, and only the log knows its details.
            concealed = concealed_traceback(error, private_texts(outcome.request)) if error is not None else None
            shown = {"exc_info": error} if concealed is None else {"exception": concealed}
            self._logger.error("request failed", **event, **shown)
            return
        left_out = self._left_out_before(code)
        if left_out is None:
            return
        if left_out:
            event["left_out_count"] = left_out
        log = self._logger.info if code in _CALLERS_DOING else self._logger.warning
        log("request failed", **event)

    def _left_out_before(self, code: grpc.StatusCode) -> int | None:
        """None when this failure is left out, else how many were left out since the last that was not."""
        now = int(time.monotonic())
        # Races between threads may log one event too many or too few; a lock would cost more than that.
        window = self._windows.setdefault(code, [now, 0, 0])
        if window[0] != now:
            window[0], window[1] = now, 0
        window[1] += 1
        if window[1] > self.policy.failures_per_second:
            window[2] += 1
            return None
        left_out, window[2] = window[2], 0
        return left_out
