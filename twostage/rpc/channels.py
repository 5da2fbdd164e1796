"""Channels to every replica of a service, and the choice among them.

gRPC's own balancing hides which replica it asks. Ours is chosen in the open, because a caller that hedges, ejects
outliers or avoids a replica that lags a generation needs to know::

    retrieval = Replicas("dns:///retrieval:50051", RetrievalServiceStub)
    with retrieval.pick() as replica:
        response = replica.stub.Retrieve(request, timeout=0.05)
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib.resources import files
from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc
import structlog

from twostage.errors import NotReady
from twostage.rpc.targets import parse_target

S = TypeVar("S")

# Only UNAVAILABLE is tried again, once, and only while failures stay rare (https://google.aip.dev/194).
SERVICE_CONFIG = files("twostage.rpc").joinpath("service_config.json").read_text(encoding="utf-8")
# How long a replica that left the target may take to finish what it was asked, in seconds.
_RETIREMENT_SECONDS = 30.0
# gRPC's thread that watches a channel looks every 0.2 s whether anybody still wants to know; a channel closed under it
# makes it die with a traceback.
_CLOSING_SECONDS = 0.5


def channel_options(max_message_bytes: int, service_config: str | None) -> list[tuple[str, int | str]]:
    """The options of a channel between our services.

    Args:
        max_message_bytes: The largest message taken or sent.
        service_config: gRPC's service config as JSON; None turns retries off.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # A replica that restarts is back within seconds; gRPC's defaults wait 1 s to 120 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Notices a peer that vanished without a goodbye; servers allow pings every 5 s.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 2_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Else channels of one process share a connection and its backoff behind our back.
        ("grpc.use_local_subchannel_pool", 1),
        # Replicas are reached directly; a proxy from the environment is for the world outside.
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 1 if service_config is not None else 0),
    ]
    if service_config is not None:
        options.append(("grpc.service_config", service_config))
    return options


class Replica(Generic[S]):
    """One connection to a replica; as a context manager it counts the work it was given.

    Args:
        address: ``host:port`` or ``unix:/path``.
        channel: The channel to it.
        make_stub: Makes its stub.

        on_change: Called when what is known of it may have changed; see `Replicas`.

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
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.channel = channel
        self.stub = make_stub(channel)
        self.in_flight_count = 0
        self.failing = False
        self.held: frozenset[int] | None = None
        self._on_change = on_change
        self._lock = threading.Lock()
        self._watched = False
        self._connect()

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
            self.in_flight_count += 1

    def end(self) -> None:
        """Counts a request out."""
        with self._lock:
            self.in_flight_count -= 1

    def correct(self, held: Iterable[int]) -> None:
        """Takes note of what it said it holds when it was asked for something else.

        Args:
            held: The generations, in any order; none means that nothing is known.
        """
        self.held = frozenset(held) or None
        self._tell_change()

    def retire(self, seconds: float) -> None:
        """Stops watching the connection at once and closes the channel later, in the background."""
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
        elif state is grpc.ChannelConnectivity.READY:
            # Not at CONNECTING: a replica that is down alternates between the two.
            self.failing = False
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


def _holders(replicas: Sequence[Replica[S]], generations: Sequence[int]) -> Sequence[Replica[S]]:
    """Those that are known to hold one of the generations, or else those of whom nothing is known."""
    known = [replica for replica in replicas if (held := replica.held) is not None and not held.isdisjoint(generations)]
    if known:
        return known
    # Looked at in full again: another thread may have set one between the two looks.
    return [replica for replica in replicas if (held := replica.held) is None or not held.isdisjoint(generations)]


class Replicas(Generic[S]):
    """The replicas of one service.

    Args:
        target: See `Target`.
        make_stub: The generated stub class, or any function of a channel.
        max_message_bytes: The largest message taken or sent; 16 MiB by default.
        service_config: gRPC's service config; retries of UNAVAILABLE with a budget by default, None for no retries.
        resolve_seconds: How often a ``dns:///`` name is looked up again; 3 by default.
        connection_count: Connections to each address; 1 by default. A replica that serves its port with several
            processes gives each connection to one of them, by chance: four times as many connections as processes
            leave hardly one of them without work.
        on_change: Called, from whatever thread, when a connection was made or a replica corrected what is known of it:
            somebody should ask anew. It must return at once. Nobody is told when None.

    Raises:
        ValueError: The target is malformed, or the number of connections is not above 0.
    """

    def __init__(
        self,
        target: str,
        make_stub: Callable[[grpc.Channel], S],
        *,
        max_message_bytes: int = 16 * 2**20,
        service_config: str | None = SERVICE_CONFIG,
        resolve_seconds: float = 3.0,
        connection_count: int = 1,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        if connection_count < 1:
            raise ValueError(f"connection_count: expected at least 1, received {connection_count}")
        self._connection_count = connection_count
        self._on_change = on_change
        self._target = parse_target(target)
        self._make_stub = make_stub
        self._options = channel_options(max_message_bytes, service_config)
        self._replicas: tuple[Replica[S], ...] = ()
        self._turns = itertools.count()
        self._closed = threading.Event()
        self._changing = threading.Lock()
        self._resolved = True
        self.refresh()
        if self._target.changes:
            threading.Thread(
                target=self._keep_fresh, args=(resolve_seconds,), name=f"resolve {target}", daemon=True
            ).start()

    @property
    def target(self) -> str:
        """The target as given."""
        return self._target.text

    def all(self) -> tuple[Replica[S], ...]:
        """Every replica, by address, each by one of its connections; empty while a name cannot be resolved."""
        return self._replicas[:: self._connection_count]

    def connections(self) -> tuple[Replica[S], ...]:
        """Every connection, several to an address where there are: each may end at another process."""
        return self._replicas

    def pick(self, exclude: Collection[Replica[S]] = (), *, holding: Sequence[int] = ()) -> Replica[S]:
        """Chooses the connection with the least work in flight, in turn among equals.

        Those whose connection is down are asked only when there is no other.

        Args:
            exclude: Replicas that will not do, e.g. because they were asked already, over whatever connection; none by
                default.
            holding: One of these generations must be held there. Where nobody is known to hold one, those of whom
                nothing is known will do. Any replica will by default.

        Raises:
            NotReady: There is none.
        """
        present: Sequence[Replica[S]] = self._replicas
        if exclude:
            excluded = {replica.address for replica in exclude}
            present = [replica for replica in present if replica.address not in excluded]
        if holding:
            present = _holders(present, holding)
        usable = [replica for replica in present if not replica.failing] or present
        if not usable:
            wanted = f" that holds generation {' or '.join(map(str, holding))}" if holding and self._replicas else ""
            raise NotReady(f"no replica{wanted} at {self.target}")
        first = next(self._turns) % len(usable)
        best = usable[first]
        for turn in range(first + 1, first + len(usable)):
            candidate = usable[turn % len(usable)]
            if candidate.in_flight_count < best.in_flight_count:
                best = candidate
        return best

    def refresh(self) -> None:
        """Looks the target up and opens and retires channels accordingly; a failed look-up changes nothing."""
        try:
            addresses = self._target.addresses()
        except OSError as error:
            if self._resolved:
                structlog.get_logger().warning("cannot resolve", target=self.target, error=str(error))
            self._resolved = False
            return
        self._resolved = True
        with self._changing:
            if self._closed.is_set():
                return
            known: dict[str, list[Replica[S]]] = {}
            for replica in self._replicas:
                known.setdefault(replica.address, []).append(replica)
            self._replicas = tuple(
                replica for address in addresses for replica in known.pop(address, None) or self._open(address)
            )
        if len(addresses) > 1:
            for replica in self._replicas:
                replica.watch()
        if self._on_change is not None and any(replica.held is None for replica in self._replicas):
            self._on_change()
        for replica in itertools.chain.from_iterable(known.values()):
            # Calls in flight end first: closing a channel cancels them.
            replica.retire(_RETIREMENT_SECONDS)

    def _open(self, address: str) -> list[Replica[S]]:
        return [
            Replica(address, grpc.insecure_channel(address, options=self._options), self._make_stub, self._on_change)
            for _ in range(self._connection_count)
        ]

    def _keep_fresh(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            self.refresh()

    def close(self) -> None:
        """Hands out no replica any more and closes every channel shortly after; calls still in flight are cancelled."""
        with self._changing:
            self._closed.set()
            replicas, self._replicas = self._replicas, ()
        for replica in replicas:
            replica.retire(_CLOSING_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
