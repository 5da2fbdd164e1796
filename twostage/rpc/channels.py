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
from collections.abc import Callable, Collection, Sequence
from importlib.resources import files
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
import structlog

from twostage.errors import NotReady
from twostage.rpc.outliers import Outliers
from twostage.rpc.replica import Replica
from twostage.rpc.targets import parse_target

S = TypeVar("S")

OpenChannel = Callable[[str, Sequence[tuple[str, Any]]], grpc.Channel]
"""Opens a channel to an address with gRPC's options, e.g. an encrypted one."""

# Only UNAVAILABLE is tried again, once, and only while failures stay rare (https://google.aip.dev/194).
# For callers that know one address only.
SERVICE_CONFIG = files("twostage.rpc").joinpath("service_config.json").read_text(encoding="utf-8")
# gRPC sends again what no server has seen, and nothing else; for callers that turn to another replica themselves
# (twostage.rpc.calls), which gRPC cannot: its retries go over the channel that failed.
UNSEEN_ONLY = "{}"
# How long a replica that left the target may take to finish what it was asked, in seconds.
_RETIREMENT_SECONDS = 30.0
# gRPC's thread that watches a channel looks every 0.2 s whether anybody still wants to know; a channel closed under it
# makes it die with a traceback. On a busy machine that look may come late.
_CLOSING_SECONDS = 2.0


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


def _holders(replicas: Sequence[Replica[S]], generations: Sequence[int]) -> Sequence[Replica[S]]:
    """Those that are known to hold one of the generations, or else those of whom nothing is known."""
    known = [replica for replica in replicas if (held := replica.held) is not None and not held.isdisjoint(generations)]
    if known:
        return known
    # Looked at in full again: another thread may have set one between the two looks.
    return [replica for replica in replicas if (held := replica.held) is None or not held.isdisjoint(generations)]


def _best_off(replicas: Sequence[Replica[S]]) -> Sequence[Replica[S]]:
    """Those with nothing against them, or else those with the least."""
    return (
        [replica for replica in replicas if not (replica.failing or replica.aside)]
        or [replica for replica in replicas if not replica.failing]
        or replicas
    )


def open_plainly(address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
    """Opens a channel without encryption."""
    return grpc.insecure_channel(address, options=list(options))


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
        outliers: Judges the replicas, for this service alone; nobody is put aside by default.
        open_channel: Opens every channel; without encryption by default.

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
        outliers: Outliers | None = None,
        open_channel: OpenChannel = open_plainly,
    ) -> None:
        if connection_count < 1:
            raise ValueError(f"connection_count: expected at least 1, received {connection_count}")
        self._connection_count = connection_count
        self._on_change = on_change
        self._outliers = outliers if outliers is not None else Outliers(None)
        self._open_channel = open_channel
        self._target = parse_target(target)
        self._make_stub = make_stub
        self._options = channel_options(max_message_bytes, service_config)
        self._replicas: tuple[Replica[S], ...] = ()
        self._several = False
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

    @property
    def several(self) -> bool:
        """True where there is more than one address."""
        return self._several

    def all(self) -> tuple[Replica[S], ...]:
        """Every replica, by address, each by one of its connections; empty while a name cannot be resolved."""
        return self._replicas[:: self._connection_count]

    def connections(self) -> tuple[Replica[S], ...]:
        """Every connection, several to an address where there are: each may end at another process."""
        return self._replicas

    def pick(self, exclude: Collection[Replica[S]] = (), *, holding: Sequence[int] = ()) -> Replica[S]:
        """Chooses the connection with the least work in flight, in turn among equals.

        Those that are put aside are asked only when there is no other, and those whose connection is down only when
        there is not even one of them. One that was put aside and may be tried again is chosen at once, for this one
        request.

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
        if self._outliers.aside_count and not exclude:
            for replica in present:
                if replica.aside and not replica.failing and replica.take_trial():
                    return replica
        usable = _best_off(present)
        if self._several:
            for replica in usable:
                replica.note_waiting()
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
            self._replace(
                [replica for address in addresses for replica in known.pop(address, None) or self._open(address)]
            )
        self._take_leave(list(itertools.chain.from_iterable(known.values())))

    def reopen(self) -> None:
        """Opens every channel anew, e.g. with other certificates, and retires the old ones as they end their work.

        Raises:
            Exception: Whatever opening a channel raises; the old ones stay then.
        """
        with self._changing:
            if self._closed.is_set():
                return
            old = self._replicas
            addresses = dict.fromkeys(replica.address for replica in old)
            self._replace([replica for address in addresses for replica in self._open(address)])
        self._take_leave(old)

    def _open(self, address: str) -> list[Replica[S]]:
        return [
            Replica(
                address, self._open_channel(address, self._options), self._make_stub, self._outliers, self._on_change
            )
            for _ in range(self._connection_count)
        ]

    def _replace(self, replicas: Sequence[Replica[S]]) -> None:
        self._replicas = tuple(replicas)
        self._several = len({replica.address for replica in replicas}) > 1

    def _take_leave(self, left: Sequence[Replica[S]]) -> None:
        """Does what follows a change; the new ones are in place, these have left."""
        if self._several:
            for replica in self._replicas:
                replica.watch()
        if self._on_change is not None and any(replica.held is None for replica in self._replicas):
            self._on_change()
        for replica in left:
            # Calls in flight end first: closing a channel cancels them.
            replica.retire(_RETIREMENT_SECONDS)

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
