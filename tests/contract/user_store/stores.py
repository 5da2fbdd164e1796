"""The user stores that the contract holds for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.users.location import RedisAddress
from gateway.users.redis_link import RedisLink
from gateway.users.redis_store import RedisUserStore
from gateway.users.sqlite_store import SqliteUserStore
from gateway.users.store import UserStore
from tests.redis_server import MISSING, RedisServer, everything_in

NAMES = ("sqlite", "redis", "redis over a Unix socket")
"""The stores there are."""

SKIPPED = {name for name in NAMES if name.startswith("redis") and MISSING}
"""Those that cannot be run here."""


@dataclass(frozen=True)
class Place:
    """A place for one store, empty at first.

    Args:
        open: Opens the store, each time the same one; given how long people are kept, in seconds.
        content: All that is stored there, as it lies in files or in memory.
        location: Where it is, as a gateway is told.
    """

    open: Callable[[int | None], UserStore]
    content: Callable[[], bytes]
    location: str = ""


@contextmanager
def place(name: str, folder: Path, server: RedisServer | None) -> Iterator[Place]:
    """An empty place for a store of this name."""
    if name == "sqlite":
        yield Place(
            lambda ttl: SqliteUserStore(folder / "users.sqlite", ttl_seconds=ttl),
            lambda: b"".join(path.read_bytes() for path in sorted(folder.glob("users.sqlite*"))),
            str(folder / "users.sqlite"),
        )
        return
    assert server is not None
    with server.client() as client:
        client.flushall()
    tcp = RedisAddress("127.0.0.1", server.port)
    address = RedisAddress(socket=str(server.socket)) if "socket" in name else tcp
    yield Place(
        # Longer than a gateway waits: nothing here is about time, and the machine may be busy.
        lambda ttl: RedisUserStore(RedisLink(address, timeout_seconds=10.0), ttl_seconds=ttl),
        lambda: everything_in(server),
        str(address),
    )
