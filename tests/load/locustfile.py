"""People at a gateway, for Locust over gRPC; README.md here says how to run it.

Each class below is one kind of person, by the weights of the mix. What a request came to stands in its name:
``known FULL``, ``known POPULAR``, ``cold FULL, short``, ``cold UNAVAILABLE``; the last is a failure of Locust's too.
"""

# ruff: noqa: E402 - gRPC is told of gevent before anything else loads it

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

# What waits for an answer then lets the other people go on.
import grpc.experimental.gevent as grpc_gevent

grpc_gevent.init_gevent()

import gevent
import grpc
from locust import User, between, constant, events, task
from locust.env import Environment

from twostage.bundle.open_store import open_store
from twostage.gateway_access import GatewayAccess
from twostage.load.material import Material, store_material
from twostage.load.mix import Drawer, Kind, Mix, read_mix
from twostage.load.requests import LoadRequest, Sender, judge, load_channel

_ADDRESS = "127.0.0.1:50050"
# Most people come back; few search, and fewer look at what is like an item.
_SHARES: dict[Kind, float] = {"known": 60, "cold": 15, "filters": 10, "events": 10, "similar": 5}
_FILES = ("TWOSTAGE_TLS_CA", "TWOSTAGE_TLS_CERTIFICATE", "TWOSTAGE_TLS_KEY")


def _secret(variable: str) -> str | None:
    path = os.environ.get(variable)
    return Path(path).read_text(encoding="utf-8").strip() if path else None


def _access() -> GatewayAccess:
    """TLS and credentials, by the variables that the `twostage` command reads."""
    authority, certificate, key = (Path(text) if (text := os.environ.get(name)) else None for name in _FILES)
    told = os.environ.get("TWOSTAGE_TLS")
    return GatewayAccess(
        tls=None if told is None else told.lower() in {"1", "true", "yes", "on"},
        tls_ca=authority,
        tls_certificate=certificate,
        tls_key=key,
        tls_server_name=os.environ.get("TWOSTAGE_TLS_SERVER_NAME"),
        api_key=_secret("TWOSTAGE_API_KEY_FILE"),
        token=_secret("TWOSTAGE_TOKEN_FILE"),
    )


def _mix() -> Mix:
    """The mix of TWOSTAGE_LOAD_MIX; without one, known people and what needs them only where a store tells of them."""
    path = os.environ.get("TWOSTAGE_LOAD_MIX")
    if path:
        return read_mix(Path(path))
    return Mix(shares=_SHARES if os.environ.get("TWOSTAGE_LOAD_STORE") else {"cold": 1})


def _material() -> Material:
    store = os.environ.get("TWOSTAGE_LOAD_STORE")
    return store_material(open_store(store if "://" in store else Path(store))) if store else Material()


MIX = _mix()
DRAWER = Drawer(MIX, _material(), seed=os.getpid())
TIMEOUT_SECONDS = float(os.environ.get("TWOSTAGE_LOAD_TIMEOUT_MS", "1000")) / 1000
_PAUSE = os.environ.get("TWOSTAGE_LOAD_PAUSE_SECONDS")


def _weight(kind: Kind) -> int:
    """Locust counts people in whole numbers; a share of a thousandth still is somebody."""
    total = sum(MIX.shares.values())
    return max(round(MIX.shares[kind] / total * 1000), 1) if kind in MIX.shares else 0


class Person(User):
    """Somebody who asks, looks for a while, and asks again; all of them share one channel."""

    abstract = True
    kind: Kind
    # 0 leaves no pause: each asks as soon as it was answered.
    wait_time = constant(float(_PAUSE)) if _PAUSE else between(0.5, 1.5)
    _sender: Sender | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.weight = _weight(cls.kind)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if Person._sender is None:
            address = self.host or os.environ.get("TWOSTAGE_LOAD_ADDRESS") or _ADDRESS
            Person._sender = Sender(load_channel(_access(), address))

    @task
    def ask(self) -> None:
        """One request, from the moment it leaves until its answer or its error."""
        assert Person._sender is not None
        self._tell(DRAWER.one(self.kind), Person._sender)

    def _tell(self, request: LoadRequest, sender: Sender) -> None:
        error: Exception | None = None
        name, size = "", 0
        started = time.perf_counter()
        try:
            answer = sender.send(request, TIMEOUT_SECONDS).result()
        except grpc.RpcError as failure:
            # The details of an error may hold an address or what a person sent; the code names it.
            error = Failed(failure.code().name)
            name = f" {error}"
        else:
            verdict = judge(request.message, answer)
            name = f" {verdict.name.removeprefix('RUNG_')}" + (", short" if verdict.missing_count else "")
            size = answer.ByteSize()
            if not verdict.answered:
                error = Failed(verdict.name)
        events.request.fire(  # type: ignore[no-untyped-call]
            request_type=request.method,
            name=f"{request.kind}{name}",
            response_time=(time.perf_counter() - started) * 1e3,
            response_length=size,
            exception=error,
            context={},
        )


class Failed(Exception):
    """A request that was not answered, or not as it must be; its text is the reason."""


class RecentPerson(Person):
    """Somebody with a stored history."""

    kind = "known"


class ColdPerson(Person):
    """Somebody new each time."""

    kind = "cold"


class FilteringPerson(Person):
    """Somebody who wants items of one kind only."""

    kind = "filters"


class VisitingPerson(Person):
    """Somebody whose history comes with the request."""

    kind = "histories"


class ActingPerson(Person):
    """Somebody who does something, which changes what is recommended next."""

    kind = "events"


class ComparingPerson(Person):
    """Somebody who looks for items like one."""

    kind = "similar"


@events.init.add_listener  # type: ignore[untyped-decorator]
def _look_at_the_clock(**_: Any) -> None:
    """Loading all this took seconds, which gevent, that looked at the clock before, would take from --run-time."""
    gevent.get_hub().loop.update_now()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _require_answers(environment: Environment, **_: Any) -> None:
    """A run that nobody was answered in fails, whatever was told to count as a failure."""
    total = environment.stats.total
    if total.num_requests == total.num_failures:
        environment.process_exit_code = 1
