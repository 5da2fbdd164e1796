"""Whether a failure is the connection's, and waiting for one to be there again."""

from __future__ import annotations

import threading
import time

import grpc

# What gRPC's own transport says; a server that answers UNAVAILABLE itself, e.g. because its queue is full, says
# something else. gRPC tells the two apart by these words alone. An unknown one costs a retry, no wrong answer.
_UNCONNECTED = "failed to connect"
_TRANSPORT_WORDS = (
    _UNCONNECTED,
    "connection refused",
    "connection reset",
    "connection dropped",
    "connection closed",
    "socket closed",
    "endpoint closing",
    "broken pipe",
    "goaway",
    "cancelling all calls",
    "transport closed",
    "recvmsg",
    "sendmsg",
    "too_many_pings",
)
_PAUSE_SECONDS = 0.01


def is_connection_failure(error: grpc.Call) -> bool:
    """Says whether a call failed because its connection broke or could not be made; Predict may then be sent again."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    said = (error.details() or "").lower()
    return any(words in said for words in _TRANSPORT_WORDS)


def was_never_sent(error: grpc.Call) -> bool:
    """Says whether a call failed before there was a connection, so that no server can have seen it."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and _UNCONNECTED in (error.details() or "").lower()


class Reconnection:
    """Waits for a server that was there a moment ago and is being restarted.

    Args:
        channel: To the server.
        patience_seconds: How long after the last answer a server counts as restarting; later it counts as away, and
            nobody waits for it.
    """

    def __init__(self, channel: grpc.Channel, patience_seconds: float) -> None:
        self._channel = channel
        self._patience_seconds = patience_seconds
        self._heard_at = -float("inf")

    def heard(self) -> None:
        """Notes that the server answered."""
        self._heard_at = time.monotonic()

    def wait(self, timeout_seconds: float) -> bool:
        """Waits until there is a connection.

        Args:
            timeout_seconds: How long at most.

        Returns:
            True when there is one; False when there is none in time, or the server has been away for long.
        """
        if time.monotonic() - self._heard_at > self._patience_seconds:
            return False
        # A broken connection may still look ready for a moment: a pause, so that whoever tries again does not spin.
        time.sleep(min(_PAUSE_SECONDS, timeout_seconds))
        ready = threading.Event()

        def watch(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.READY:
                ready.set()

        self._channel.subscribe(watch, try_to_connect=True)
        try:
            return ready.wait(timeout_seconds)
        finally:
            self._channel.unsubscribe(watch)
