"""``grpc.health.v1.Health`` that no client can bring to a stand.

grpcio's own servicer tells a watcher its state while it holds a lock that the server's one event thread takes when a
watch ends. A watch that is given up at the wrong moment then stops the whole server: the one waits for a message to be
sent, which the event thread would notice, and the event thread waits for the lock. Here watchers are known to a single
thread, and the event thread never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Response = health_pb2.HealthCheckResponse
_Send = Callable[[Any], None]


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells the state of a server and its services.

    Checks run on a thread of their own, and watches on another: a server whose workers are all busy is alive, and a
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
        self._watches = ThreadPoolExecutor(1, thread_name_prefix="health watch")
        # Of the watching thread alone: what each watcher was told last, by service.
        self._watchers: dict[str, dict[_Send, int]] = {}
        self._ended: deque[tuple[str, _Send]] = deque()

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
        # Closed: a server may be stopped more than once.
        with suppress(RuntimeError):
            self._watches.submit(self._tell, tuple(states))

    def close(self) -> None:
        """Ends the threads; the server must have stopped."""
        self._checks.shutdown(wait=False)
        self._watches.shutdown(wait=False, cancel_futures=True)

    def _watch(self, service: str, context: grpc.ServicerContext, send: _Send) -> None:
        self._forget_ended()
        # The event thread only writes down who has gone.
        if context.add_callback(lambda: self._ended.append((service, send))):
            self._watchers.setdefault(service, {})[send] = -1
            self._tell((service,))

    def _tell(self, services: tuple[str, ...]) -> None:
        self._forget_ended()
        for service in services:
            state = self._states.get(service, _Response.SERVICE_UNKNOWN)
            watchers = self._watchers.get(service, {})
            for send, told in list(watchers.items()):
                if told != state:
                    watchers[send] = state
                    send(_Response(status=state))

    def _forget_ended(self) -> None:
        while self._ended:
            service, send = self._ended.popleft()
            watchers = self._watchers[service]
            watchers.pop(send, None)
            if not watchers:
                del self._watchers[service]
