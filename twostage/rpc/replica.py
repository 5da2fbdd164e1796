"""One connection to one replica of a service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc

from twostage.rpc.outliers import Outcome, Outliers

S = TypeVar("S")


class Replica(Generic[S]):
    """One connection to a replica; as a context manager it counts the work it was given.

    Args:
        address: ``host:port`` or ``unix:/path``.
        channel: The channel to it.
        make_stub: Makes its stub.
        outliers: Judges it; nobody does when None.
        on_change: Called when what is known of it may have changed; see `twostage.rpc.channels.Replicas`.

    Attributes:
        in_flight_count: Requests begun and not ended.
        failing: True while its connection is down and gRPC waits before it tries again; always False unless watched.
        held: The generations that it is known to hold, set by whoever asks it; None while nothing is known, and again
            when a watched connection goes down: who answers next may be another process.
    """

    def __init__(
        self,
        address: str,
        channel: grpc.Channel,
        make_stub: Callable[[grpc.Channel], S],
        outliers: Outliers | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.channel = channel
        self.stub = make_stub(channel)
        self.in_flight_count = 0
        self._moved_at = 0.0
        self.failing = False
        self.held: frozenset[int] | None = None
        self._outliers = outliers if outliers is not None else Outliers(None)
        self._conduct = self._outliers.join(address)
        self._on_change = on_change
        self._lock = threading.Lock()
        self._watched = False
        self._connect()

    @property
    def aside(self) -> bool:
        """True while it is left alone because it fails or hangs; see `twostage.rpc.outliers`."""
        return self._conduct.aside

    def watch(self) -> None:
        """Keeps `failing` true to the connection from now on.

        Each watched channel has a thread of its own, which every call's messages wake: about 0.1 ms of CPU a call,
        worth it only where there is another replica to turn to.
        """
        if not self._watched:
            self._watched = True
            self.channel.subscribe(self._on_connectivity, try_to_connect=True)

    def begin(self) -> None:
        """Counts a request in; for calls that end elsewhere than they begin. Pair it with `end`."""
        with self._lock:
            if not self.in_flight_count:
                self._moved_at = time.monotonic()
            self.in_flight_count += 1

    def end(self) -> None:
        """Counts a request out."""
        with self._lock:
            self.in_flight_count -= 1
            self._moved_at = time.monotonic()

    def note(self, outcome: Outcome, seconds: float = 0.0) -> None:
        """Takes note of how a call to it ended, after how many seconds."""
        self._outliers.note(self._conduct, outcome, seconds)

    def note_waiting(self) -> None:
        """Looks whether it has had work for long without ending any."""
        if self.in_flight_count:
            self._outliers.note_waiting(self._conduct, self._moved_at)

    def note_status(self, *, answered: bool) -> None:
        """Takes note of whether it answers when it is asked for its status."""
        self._outliers.note_status(self._conduct, answered=answered)

    def take_trial(self) -> bool:
        """Says whether it was put aside and may be given a request on trial now, and if so takes it as given."""
        return self._outliers.take_trial(self._conduct)

    def correct(self, held: Iterable[int]) -> None:
        """Takes note of what it said it holds when it was asked for something else.

        Args:
            held: The generations, in any order; none means that nothing is known.
        """
        self.held = frozenset(held) or None
        self._tell_change()

    def retire(self, seconds: float) -> None:
        """Stops watching the connection at once and closes the channel later, in the background."""
        self._outliers.leave(self._conduct)
        if self._watched:
            self.channel.unsubscribe(self._on_connectivity)
        timer = threading.Timer(seconds, self.channel.close)
        timer.daemon = True
        timer.start()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _on_connectivity(self, state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            self.failing = True
            self.held = None
            self.note_status(answered=False)
        elif state is grpc.ChannelConnectivity.READY:
            # Not at CONNECTING: a replica that is down alternates between the two.
            self.failing = False
            self.note_status(answered=True)
            self._tell_change()
        elif state is grpc.ChannelConnectivity.IDLE:
            # The server closed the connection: connect anew at once, to know whether it is there and to spare the next
            # request the wait.
            self._connect()

    def _tell_change(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _connect(self) -> None:
        # Only subscribing asks a channel to connect; its thread ends when nobody is subscribed.
        self.channel.subscribe(_ignore, try_to_connect=True)
        self.channel.unsubscribe(_ignore)


def _ignore(_state: grpc.ChannelConnectivity) -> None:
    """Takes a state that nobody wants."""
