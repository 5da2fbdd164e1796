"""The connections to Redis: every use ends within a bounded time, and one that hangs is not asked again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as TooSlow
from redis.retry import Retry

from gateway.users.location import RedisAddress
from gateway.users.redis_scripts import USER_PREFIX, Script
from gateway.users.short_circuit import ShortCircuit
from gateway.users.store import UserStoreUnavailable

T = TypeVar("T")

_PEOPLE = USER_PREFIX.decode()

# Redis is there and does not let us do what we ask: waiting does not help, somebody must act.
_REFUSALS = (AuthenticationError, AuthorizationError)


PATIENCE = 5
"""How many times as long as for a read is waited for a write: batches are large, and some wait for a disk."""


class _Lane:
    """Connections of one patience: reads never wait for those that writes hold.

    Args:
        address: The server.
        password: What it asks for.
        timeout_seconds: How long to wait for a connection, for a free one of ours and for an answer, each.
        connection_count: The most connections at a time.
        ca_path: Certificates that the server's is checked against.
    """

    def __init__(
        self, address: RedisAddress, password: str, timeout_seconds: float, connection_count: int, ca_path: Path | None
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.free = threading.BoundedSemaphore(connection_count)
        self.pool = _make_pool(address, password, timeout_seconds, connection_count, ca_path)
        self.client = redis.Redis(connection_pool=self.pool)


class RedisLink:
    """A bounded number of connections to one Redis server; safe to use from several threads.

    Args:
        address: The server.
        password: What it asks for; empty for none.
        timeout_seconds: How long a read waits for a connection, for a free one of ours and for an answer, each; what
            is patient waits five times as long.
        connection_count: The most connections at a time for reads, and as many for what is patient.
        ca_path: Certificates that the server's is checked against with TLS; the system's when None.
        on_refusal: Told each time that the server was not asked because it did not answer a moment ago.
    """

    def __init__(
        self,
        address: RedisAddress,
        password: str = "",
        *,
        timeout_seconds: float = 0.1,
        connection_count: int = 8,
        ca_path: Path | None = None,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = address
        self._circuit = ShortCircuit()
        self._on_refusal = on_refusal
        self._closed = False
        self._quick = _Lane(address, password, timeout_seconds, connection_count, ca_path)
        self._patient = _Lane(address, password, PATIENCE * timeout_seconds, connection_count, ca_path)

    def run(self, work: Callable[[redis.Redis], T], *, repeatable: bool = True, patient: bool = False) -> T:
        """Does something with Redis.

        Args:
            work: What; it gets a client and raises what that raises.
            repeatable: True does it once more on a new connection where the first was lost, e.g. because Redis was
                started again: doing it twice must then be the same as doing it once.
            patient: True waits five times as long.

        Raises:
            UserStoreUnavailable: Redis did not answer in time, cannot be reached, refuses, or was not asked because it
                did not answer a moment ago.
        """
        if self._closed:
            raise UserStoreUnavailable(f"{self.address}: the store is closed")
        if not self._circuit.may_ask():
            self._on_refusal()
            raise UserStoreUnavailable(f"{self.address}: not asked, for it did not answer a moment ago")
        lane = self._patient if patient else self._quick
        if not lane.free.acquire(timeout=lane.timeout_seconds):
            # Whoever holds the connections tells the circuit how that ended.
            raise UserStoreUnavailable(f"{self.address}: all connections are in use")
        try:
            result = _attempt(lane.client, work, repeatable=repeatable)
        except (TooSlow, ConnectionLost, OSError) as error:
            if isinstance(error, _REFUSALS):
                self._circuit.succeeded()
            else:
                self._circuit.failed()
            raise UserStoreUnavailable(f"{self.address}: {_reason(error)}") from error
        except ReadOnlyError as error:
            # The server is no longer the one that takes writes; its name may lead to another one by now.
            self._circuit.succeeded()
            for each in (self._quick, self._patient):
                each.pool.disconnect(inuse_connections=False)
            raise UserStoreUnavailable(f"{self.address}: {_reason(error)}") from error
        except RedisError as error:
            self._circuit.succeeded()
            raise UserStoreUnavailable(f"{self.address}: {_reason(error)}") from error
        finally:
            lane.free.release()
        self._circuit.succeeded()
        return result

    def run_script(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Any], *, repeatable: bool = True
    ) -> Any:
        """Runs a script, patiently, in one round trip unless Redis has not seen it before.

        Args:
            script: The script.
            keys: Its keys.
            arguments: Its arguments: bytes, numbers or text.
            repeatable: As of :meth:`run`.

        Raises:
            UserStoreUnavailable: As by :meth:`run`.
        """

        def work(client: redis.Redis) -> Any:
            try:
                return client.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return client.execute_command("EVAL", script.text, len(keys), *keys, *arguments)

        return self.run(work, repeatable=repeatable, patient=True)

    def check(self) -> None:
        """Checks that Redis lets us in, if it answers at all.

        Raises:
            UserStoreUnavailable: It answers, and refuses: a password is wrong or missing, or there is no such database.
        """
        try:
            self.run(lambda client: client.execute_command("PING"))
        except UserStoreUnavailable as error:
            if not isinstance(error.__cause__, (TooSlow, BusyLoadingError, OSError)) and not _unreachable(error):
                raise

    def close(self) -> None:
        """Closes the connections."""
        self._closed = True
        for each in (self._quick, self._patient):
            each.pool.disconnect()


def _attempt(client: redis.Redis, work: Callable[[redis.Redis], T], *, repeatable: bool) -> T:
    try:
        return work(client)
    except ConnectionLost as error:
        if not repeatable or isinstance(error, (*_REFUSALS, BusyLoadingError)):
            raise
    return work(client)


def _unreachable(error: UserStoreUnavailable) -> bool:
    return isinstance(error.__cause__, ConnectionLost) and not isinstance(error.__cause__, _REFUSALS)


def _reason(error: Exception) -> str:
    """One line without people: some of Redis's messages repeat a command with its key."""
    text, key, _ = " ".join(str(error).split()).partition(_PEOPLE)
    return (text + "…" if key else text)[:200] or type(error).__name__


def _make_pool(
    address: RedisAddress, password: str, timeout_seconds: float, connection_count: int, ca_path: Path | None
) -> redis.ConnectionPool:
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username or None,
        "password": password or None,
        "socket_timeout": timeout_seconds,
        "max_connections": connection_count,
        # Repeating is decided here, and waiting between tries costs a request its time.
        "retry": Retry(NoBackoff(), 0),
    }
    if address.socket:
        return redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=address.socket, **options)
    options |= {
        "host": address.host,
        "port": address.port,
        "socket_connect_timeout": timeout_seconds,
        "socket_keepalive": True,
    }
    if not address.tls:
        return redis.ConnectionPool(**options)
    return redis.ConnectionPool(
        connection_class=redis.SSLConnection,
        ssl_check_hostname=True,
        ssl_ca_certs=str(ca_path) if ca_path is not None else None,
        **options,
    )
