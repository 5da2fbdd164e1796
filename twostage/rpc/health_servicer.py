"""``grpc.health.v1.Health`` that no client can bring to a stand.

grpcio's own servicer tells a watcher its state while it holds a lock that the server's one event thread takes when a
watch ends. A watch that is given up at the wrong moment then stops the whole server: the one waits for a message to be
sent, which the event thread would notice, and the event thread waits for the lock. Here nothing is sent under a lock,
the event thread never waits, and a watcher that reads nothing is given up, because it would hold a thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Response = health_pb2.HealthCheckResponse
_Send = Callable[[Any], None]
# Each is held by a watcher that reads nothing, for as long as follows; others take microseconds.
_WATCH_THREADS = 16
_UNREAD_SECONDS = 1.0


class _Watcher:
    """One who is told the state of a service.

    Args:
        service: Which.
        context: The call.
        send: Sends a message and waits until it has left.
    """

    def __init__(self, service: str, context: Any, send: _Send) -> None:
        self.service = service
        self._context = context
        self._send = send
        self._told: int | None = None
        self._lock = threading.Lock()
        self._is_telling = False

    def tell(self, state: Callable[[], int]) -> None:
        """Tells the state until it is the newest; whoever does so already goes on with it."""
        while True:
            with self._lock:
                newest = state()
                if self._is_telling or newest == self._told:
                    return
                self._told, self._is_telling = newest, True
            giving_up = threading.Timer(_UNREAD_SECONDS, self._context.cancel)
            giving_up.daemon = True
            giving_up.start()
            try:
                self._send(_Response(status=newest))
            finally:
                giving_up.cancel()
                with self._lock:
                    self._is_telling = False


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells the state of a server and its services.

    Checks run on a thread of their own, and watches on others: a server whose workers are all busy is alive, and a
    probe that waits behind them, or behind a watcher that reads nothing, would have it restarted in the moment of its
    highest load.

    Args:
        states: The services' states by name, the server's own under the empty name.
        unknown_details: The message with NOT_FOUND for another name.
    """

    def __init__(self, states: Mapping[str, int], unknown_details: str = "") -> None:
        self._states = dict(states)
        self._unknown_details = unknown_details
        self._checks = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._watches = ThreadPoolExecutor(_WATCH_THREADS, thread_name_prefix="health watch")
        self._watchers: set[_Watcher] = set()
        self._lock = threading.Lock()
        self._ended: deque[_Watcher] = deque()

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service with a server that has not started."""

        def check(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
            state = self._states.get(request.service)
            if state is None:
                context.set_code(grpc.StatusCode.NOT_FOUND)
                context.set_details(self._unknown_details)
                return _Response()
            return _Response(status=state)

        def watch(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext, send: _Send) -> None:
            self._watch(request.service, context, send)

        # The attributes by which grpcio chooses another pool for a method, and lets it answer when it likes.
        check.experimental_thread_pool = self._checks  # type: ignore[attr-defined]
        watch.experimental_thread_pool = self._watches  # type: ignore[attr-defined]
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        self.Check, self.Watch = check, watch  # type: ignore[method-assign,assignment]
        add: Callable[[HealthServicer, grpc.Server], None] = health_pb2_grpc.add_HealthServicer_to_server
        add(self, server)

    def set(self, states: Mapping[str, int]) -> None:
        """Changes states; watchers hear of it shortly after, and nobody once it is closed."""
        self._states |= states
        with self._lock:
            watchers = [watcher for watcher in self._watchers if watcher.service in states]
        # Closed: a server may be stopped more than once.
        with suppress(RuntimeError):
            for watcher in watchers:
                self._watches.submit(watcher.tell, self._state_of(watcher))

    def close(self) -> None:
        """Ends the threads; the server must have stopped."""
        self._checks.shutdown(wait=False)
        self._watches.shutdown(wait=False, cancel_futures=True)

    def _watch(self, service: str, context: grpc.ServicerContext, send: _Send) -> None:
        watcher = _Watcher(service, context, send)
        with self._lock:
            self._watchers.add(watcher)
        # The event thread only writes down who has gone.
        if not context.add_callback(lambda: self._ended.append(watcher)):
            self._ended.append(watcher)
        with self._lock:
            while self._ended:
                self._watchers.discard(self._ended.popleft())
        watcher.tell(self._state_of(watcher))

    def _state_of(self, watcher: _Watcher) -> Callable[[], int]:
        return lambda: self._states.get(watcher.service, _Response.SERVICE_UNKNOWN)
