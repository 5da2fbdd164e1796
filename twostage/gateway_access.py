"""How a client reaches a gateway: with TLS or without, and as whom."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from twostage.rpc.security.call_credentials import with_credentials

# A command or a service that calls for hours gets a new token within this after its file changed.
_TOKEN_FILE_SECONDS = 1.0


class AccessInvalid(ValueError):
    """What a client was told about TLS or credentials cannot be used; the message names it and never tells a secret."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """TLS and credentials of a client; nothing encrypted and nobody in particular by default.

    Args:
        tls: Whether to encrypt; when None, exactly where one of the next four is given.
        tls_ca: PEM file of the authorities that may have signed the gateway's certificate; gRPC's own list of
            well-known ones when None.
        tls_certificate: PEM file of the client's own certificate, for a gateway that asks for one.
        tls_key: PEM file of its private key.
        tls_server_name: The name that the gateway's certificate must carry; the address's host when None.
        api_key: The client's API key.
        token: A token of an identity provider (JWT), or a function that is asked for it at every call.

    Raises:
        AccessInvalid: A part is missing, or both an API key and a token are given.
    """

    tls: bool | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    token: str | Callable[[], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuses what contradicts itself."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing, given = ("key", "certificate") if self.tls_key is None else ("certificate", "key")
            raise AccessInvalid(f"tls_{missing}: expected a file beside tls_{given}, received none")
        if self.tls is False and self._tls_parts:
            raise AccessInvalid("tls: expected True beside files and names for TLS, received False")
        if self.api_key is not None and self.token is not None:
            raise AccessInvalid("api_key: expected none beside a token, received one")
        for name, secret in (("api_key", self.api_key), ("token", self.token)):
            if isinstance(secret, str) and not (secret and secret.isascii() and secret.isprintable()):
                raise AccessInvalid(f"{name}: expected printable ASCII, received something else")

    @property
    def encrypted(self) -> bool:
        """Whether channels are encrypted."""
        return bool(self._tls_parts) if self.tls is None else self.tls

    @property
    def _tls_parts(self) -> list[Path | str]:
        parts = (self.tls_ca, self.tls_certificate, self.tls_key, self.tls_server_name)
        return [part for part in parts if part is not None]

    def channel(self, address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
        """Opens a channel whose calls carry the credentials. The files of TLS are read now and not again.

        Args:
            address: ``host:port`` of the gateway.
            options: Options of gRPC's.

        Raises:
            AccessInvalid: A file cannot be read, or is not what it should be.
        """
        if not self.encrypted:
            channel = grpc.insecure_channel(address, options=list(options))
        else:
            more = [("grpc.ssl_target_name_override", self.tls_server_name)] if self.tls_server_name else []
            channel = grpc.secure_channel(address, self._credentials(), options=[*options, *more])
        token = self.token
        return with_credentials(channel, self.api_key, (lambda: token) if isinstance(token, str) else token)

    def _credentials(self) -> grpc.ChannelCredentials:
        # gRPC says nothing about files that it cannot use but that no connection comes about.
        checker = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority = _read("tls_ca", self.tls_ca)
        if self.tls_ca is not None:
            try:
                checker.load_verify_locations(self.tls_ca)
            except ssl.SSLError as error:
                raise AccessInvalid(f"tls_ca: expected certificates in PEM, received {self.tls_ca}") from error
        certificate, key = _read("tls_certificate", self.tls_certificate), _read("tls_key", self.tls_key)
        if self.tls_certificate is not None and self.tls_key is not None:
            try:
                # The password is asked for on the terminal otherwise.
                checker.load_cert_chain(self.tls_certificate, self.tls_key, password=lambda: b"")
            except ssl.SSLError as error:
                raise AccessInvalid(
                    "tls_key: expected the certificate's private key, both in PEM and not encrypted, "
                    f"received {self.tls_key} beside {self.tls_certificate}"
                ) from error
        return grpc.ssl_channel_credentials(authority, key, certificate)


class TokenFile:
    """A token in a file that somebody renews, as sidecars of identity providers do; for `GatewayAccess.token`.

    Args:
        path: The file.
        read: Reads it, e.g. with `twostage.rpc.security.private_files.read_secret`; what it raises now is raised now,
            and later the token read last is used on.
        clock: Seconds that never go back; the system's by default.
    """

    def __init__(self, path: Path, read: Callable[[Path], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._read = read
        self._clock = clock
        self._token = read(path)
        self._mark = self._stat()
        self._looked_at = clock()

    def __call__(self) -> str:
        """The token; the file is looked at once a second at most."""
        now = self._clock()
        if now - self._looked_at >= _TOKEN_FILE_SECONDS:
            self._looked_at = now
            mark = self._stat()
            if mark != self._mark:
                try:
                    self._token, self._mark = self._read(self._path), mark
                except Exception:  # noqa: BLE001 - the one read last may still do, and the gateway says if not
                    return self._token
        return self._token

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - asked while a call waits
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _read(name: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise AccessInvalid(f"{name}: expected a readable file, received {path}: {error.strerror or error}") from error
