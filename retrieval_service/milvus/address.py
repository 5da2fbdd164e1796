"""Where a Milvus is and how it is entered."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from twostage.errors import InvalidField

_DEFAULT_PORTS = {"http": 19530, "https": 443}
_EXPECTED = "http://HOST:PORT, https://HOST:PORT, or the path of a local file that ends in .db"


@dataclass(frozen=True)
class MilvusAddress:
    """A Milvus cluster, or a file of milvus-lite, which is Milvus inside this process for trials and tests.

    Args:
        uri: What was given, without credentials; fit for logs and errors.
        target: ``host:port`` of the cluster; empty for a file.
        secure: True for TLS with the machine's certificate authorities.
        database: The database in the cluster; empty for its default one.
        token: ``user:password`` or an API key; empty for none. Never shown.
        path: The file of milvus-lite; None for a cluster.
    """

    uri: str
    target: str = ""
    secure: bool = False
    database: str = ""
    token: str = field(default="", repr=False)
    path: Path | None = None

    @classmethod
    def parse(cls, uri: str, token: str = "") -> Self:
        """Reads an address.

        Args:
            uri: ``http://host:port`` or ``https://host:port`` (port 19530 and 443 by default), with ``/database`` when
                it is not the default one, or a path that ends in ``.db``. A user and a password in it are taken as
                the token when there is none.
            token: ``user:password`` or an API key; empty for none.

        Raises:
            InvalidField: It is none of these.
        """
        if uri.endswith(".db") and "://" not in uri:
            path = Path(uri).absolute()
            return cls(uri=uri, path=path)
        try:
            parts = urlsplit(uri)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InvalidField("milvus", _EXPECTED, "text that is no address") from None
        scheme = parts.scheme.lower()
        database = parts.path.strip("/")
        if scheme not in _DEFAULT_PORTS or not host or "/" in database or parts.query or parts.fragment:
            # The text may hold a password, so only what comes after one is shown.
            raise InvalidField("milvus", _EXPECTED, uri.rsplit("@", maxsplit=1)[-1])
        if parts.username and not token:
            token = unquote(parts.username) + (f":{unquote(parts.password)}" if parts.password else "")
        target = (
            f"[{host}]:{port or _DEFAULT_PORTS[scheme]}" if ":" in host else f"{host}:{port or _DEFAULT_PORTS[scheme]}"
        )
        shown = f"{scheme}://{target}" + (f"/{database}" if database else "")
        return cls(uri=shown, target=target, secure=scheme == "https", database=database, token=token)

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What every call carries: who calls, and which database is meant."""
        sent = [("dbname", self.database)] if self.database else []
        if self.token:
            sent.append(("authorization", base64.b64encode(self.token.encode()).decode("ascii")))
        return sent
