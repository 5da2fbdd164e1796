"""Where the user store is: a file, or a Redis server by its URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_DEFAULT_PORT = 6379
_SCHEMES = ("redis", "rediss", "unix")
_EXPECTED = "a file, redis://host:port/number, rediss://host:port/number or unix:///path?db=number"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis server and one of its databases, without a password.

    Args:
        host: Its name or address; empty for a Unix socket.
        port: Its port.
        socket: The path of its Unix socket; empty for TCP.
        database: The number of the database, 0 by default.
        tls: True where the connection is encrypted.
        username: Who signs in; empty for the default user.
    """

    host: str = ""
    port: int = _DEFAULT_PORT
    socket: str = ""
    database: int = 0
    tls: bool = False
    username: str = ""

    def __str__(self) -> str:
        """The URL, without who signs in."""
        if self.socket:
            return f"unix://{self.socket}" + (f"?db={self.database}" if self.database else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{host}:{self.port}/{self.database}"


def parse_users_location(text: str | Path) -> Path | RedisAddress:
    """Reads where the user store is.

    Args:
        text: A path, or a URL: ``redis://[user@]host[:port][/database]``, ``rediss://…`` for TLS,
            ``unix:///path[?db=database]``.

    Raises:
        ValueError: It is neither; or it carries a password, which belongs into the environment or a file. The message
            repeats nothing of the text.
    """
    if isinstance(text, Path):
        text = str(text)
        # A Path folds the slashes of a URL into one.
        scheme, colon, _ = text.partition(":/")
        if colon and scheme in _SCHEMES and not text.startswith(f"{scheme}://"):
            raise ValueError(f"{_EXPECTED}; a URL as text and not as a path")
    if "://" not in text:
        if not text:
            raise ValueError(_EXPECTED)
        return Path(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{_EXPECTED}, a port from 0 to 65535 and a whole URL") from error
    if parts.password is not None:
        raise ValueError("a URL without a password: it is read from users_password_file or the environment")
    if parts.scheme not in _SCHEMES or parts.fragment:
        raise ValueError(_EXPECTED)
    username = unquote(parts.username or "")
    if parts.scheme == "unix":
        if parts.hostname or parts.path in {"", "/"} or (parts.query and not parts.query.startswith("db=")):
            raise ValueError(_EXPECTED)
        return RedisAddress(
            socket=unquote(parts.path), database=_database(parts.query.removeprefix("db=")), username=username
        )
    if not parts.hostname or parts.query:
        raise ValueError(_EXPECTED)
    return RedisAddress(
        host=parts.hostname,
        port=_DEFAULT_PORT if port is None else port,
        database=_database(parts.path.removeprefix("/")),
        tls=parts.scheme == "rediss",
        username=username,
    )


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise ValueError(f"{_EXPECTED}, whose database is a whole number")
    return int(text)
