"""From where the user store is to the store."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.users.import_target import ImportTarget
from gateway.users.location import RedisAddress, parse_users_location
from gateway.users.sqlite_import import SqliteImport
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import SECONDS_PER_DAY, UserStore, UserStoreUnavailable
from twostage.rpc.security.private_files import SecretInvalid, read_secret

if TYPE_CHECKING:
    from gateway.users.redis_link import RedisLink

_IMPORT_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class UsersAccess:
    """How a user store is opened.

    Args:
        location: A path, or the URL of a Redis server; see `gateway.users.location`.
        password: What Redis asks for; empty for none.
        password_file: Holds the password instead; read when the store is opened.
        ca_file: Certificates that Redis's own is checked against with TLS; the system's when None.
        ttl_days: How long after their last new event people are forgotten; None or 0 keeps them.
        timeout_seconds: How long to wait for Redis at each step.
        connection_count: The most connections to Redis; as many as threads ask at the same time.
    """

    location: str | Path
    password: str = field(default="", repr=False)
    password_file: Path | None = None
    ca_file: Path | None = None
    ttl_days: float | None = None
    timeout_seconds: float = 0.1
    connection_count: int = 8

    @property
    def ttl_seconds(self) -> int | None:
        """How long people are kept; None for ever."""
        return max(1, round(self.ttl_days * SECONDS_PER_DAY)) if self.ttl_days else None


def open_user_store(
    access: UsersAccess,
    *,
    on_refusal: Callable[[], None] = lambda: None,
    on_unreadable: Callable[[int], None] = lambda _: None,
) -> UserStore:
    """Opens a user store. A Redis server need not answer yet: people are unknown until it does.

    Args:
        access: Where it is and how it is opened.
        on_refusal: Told when Redis was not asked because it did not answer a moment ago.
        on_unreadable: Told how many records of somebody could not be read.

    Raises:
        UserStoreUnavailable: The file cannot be opened or is no user store; Redis answers and refuses; the password's
            file cannot be read; or the library that speaks to Redis is not installed.
        ValueError: The location is neither a path nor such a URL.
    """
    location = parse_users_location(access.location)
    if isinstance(location, Path):
        return SqliteUserStore(location, ttl_seconds=access.ttl_seconds)
    link = _link(location, access, access.timeout_seconds, on_refusal)
    from gateway.users.redis_store import RedisUserStore  # noqa: PLC0415 - only where Redis is asked for

    try:
        link.check()
    except UserStoreUnavailable:
        link.close()
        raise
    store = RedisUserStore(link, ttl_seconds=access.ttl_seconds, on_unreadable=on_unreadable)
    store.prepare()
    return store


def open_import_target(access: UsersAccess) -> ImportTarget:
    """Opens a user store for an import.

    Raises:
        UserStoreUnavailable: It cannot be opened, or Redis does not answer.
        ValueError: The location is neither a path nor the URL of a Redis server.
    """
    location = parse_users_location(access.location)
    if isinstance(location, Path):
        return SqliteImport(location, ttl_seconds=access.ttl_seconds)
    link = _link(location, access, _IMPORT_TIMEOUT_SECONDS, lambda: None)
    from gateway.users.redis_import import RedisImport  # noqa: PLC0415 - only where Redis is asked for

    try:
        return RedisImport(link, ttl_seconds=access.ttl_seconds)
    except UserStoreUnavailable:
        link.close()
        raise


def access_from_environment(location: str | Path, prefix: str = "TWOSTAGE_GATEWAY_") -> UsersAccess:
    """How a gateway with this environment opens a store, for programs that run beside one.

    Raises:
        UserStoreUnavailable: The days are no number.
    """

    def value(name: str) -> str:
        return os.environ.get(f"{prefix}{name}", "")

    def path(name: str) -> Path | None:
        return Path(value(name)) if value(name) else None

    try:
        days = float(value("USERS_TTL_DAYS") or 0)
    except ValueError as error:
        raise UserStoreUnavailable(
            f"{prefix}USERS_TTL_DAYS: expected a number of days, received {value('USERS_TTL_DAYS')!r}"
        ) from error
    return UsersAccess(
        location,
        password=value("USERS_PASSWORD"),
        password_file=path("USERS_PASSWORD_FILE"),
        ca_file=path("USERS_CA_FILE"),
        ttl_days=days,
    )


def _link(
    address: RedisAddress, access: UsersAccess, timeout_seconds: float, on_refusal: Callable[[], None]
) -> RedisLink:
    password = access.password
    if access.password_file is not None:
        try:
            password = read_secret(access.password_file, "users_password_file")
        except SecretInvalid as error:
            raise UserStoreUnavailable(str(error)) from error
    try:
        from gateway.users.redis_link import RedisLink  # noqa: PLC0415 - only where Redis is asked for
    except ImportError as error:
        raise UserStoreUnavailable(
            f"{address}: the library redis is missing; install the extra `redis`: pip install 'twostage[redis]'"
        ) from error
    return RedisLink(
        address,
        password,
        timeout_seconds=timeout_seconds,
        connection_count=access.connection_count,
        ca_path=access.ca_file,
        on_refusal=on_refusal,
    )
