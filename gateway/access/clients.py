"""Who the gateway's clients are, and whom a key or a token names."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.access.clients_file import PUBLIC_METHODS, ClientsFile, Rights, parse_clients
from gateway.access.jwks import parse_jwks
from gateway.access.tokens import TokenRefused, TokenVerifier
from twostage.rpc.caller import Caller
from twostage.rpc.security.api_keys import MAX_KEY_CHARS, key_digest
from twostage.rpc.security.reloading import OthersRefused
from twostage.rpc.settings import SettingsError

_SCHEME = "bearer "


class CredentialsRefused(Exception):
    """Nobody is named by what a call carries.

    Args:
        kind: Why, as the metric has it: ``missing``, ``several``, ``unknown_api_key``, ``scheme``, ``token_…`` with a
            kind of `gateway.access.tokens.TokenRefused`, or ``no_tokens`` where none are believed.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class ClientUnknown(Exception):
    """A token is right and names nobody whom the file knows."""


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A client as calls meet it.

    Args:
        caller: Who it is for everybody further on.
        methods: The names of the methods that it may call; all when None.
    """

    caller: Caller
    methods: frozenset[str] | None

    def may_call(self, method: str) -> bool:
        """Whether it may call ``/package.Service/Method``."""
        return self.methods is None or method.rpartition("/")[2] in self.methods


@dataclass(frozen=True, slots=True)
class _Key:
    digest: bytes
    client: KnownClient


class Clients:
    """All clients of one state of the file; never changed, and safe to use from several threads.

    Args:
        file: The file.
        tokens: Checks tokens; None where none are believed.
    """

    def __init__(self, file: ClientsFile, tokens: TokenVerifier | None) -> None:
        self._by_name = {client.name: _known(client.name, client, None) for client in file.clients}
        self._by_digest = {
            digest: _Key(digest, self._by_name[client.name])
            for client in file.clients
            for digest in (bytes.fromhex(key.sha256) for key in client.keys)
        }
        self._anonymous = _known("", file.anonymous, PUBLIC_METHODS) if file.anonymous is not None else None
        self._tokens = tokens

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._by_name)

    def identify(self, api_key: str | None, authorization: str | None) -> KnownClient:
        """Says whom the credentials of a call name; somebody anonymous where there are none and the file allows it.

        Wrong credentials are never taken for none.

        Args:
            api_key: The metadata ``x-api-key``.
            authorization: The metadata ``authorization``.

        Raises:
            CredentialsRefused: Nobody is named.
            ClientUnknown: A token is right, and the file does not know the client it names.
        """
        if api_key is not None:
            if authorization is not None:
                raise CredentialsRefused("several")
            return self._by_key(api_key)
        if authorization is not None:
            return self._by_token(authorization)
        if self._anonymous is None:
            raise CredentialsRefused("missing")
        return self._anonymous

    def _by_key(self, api_key: str) -> KnownClient:
        if len(api_key) > MAX_KEY_CHARS:
            raise CredentialsRefused("unknown_api_key")
        digest = key_digest(api_key)
        # How long the look-up takes tells of a hash, of which nobody can choose a part; the comparison tells nothing.
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise CredentialsRefused("unknown_api_key")
        return found.client

    def _by_token(self, authorization: str) -> KnownClient:
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise CredentialsRefused("scheme")
        if self._tokens is None:
            raise CredentialsRefused("no_tokens")
        try:
            name = self._tokens.client_of(authorization[len(_SCHEME) :].strip(" "))
        except TokenRefused as error:
            raise CredentialsRefused(f"token_{error.kind}") from None
        client = self._by_name.get(name)
        if client is None:
            raise ClientUnknown
        return client


def read_clients(path: Path, clock: Callable[[], float] = time.time) -> tuple[Clients, tuple[Path, ...]]:
    """Reads the clients' file and the keys of the tokens that it names.

    Args:
        path: The file.
        clock: Unix seconds, for tokens; the system's by default.

    Returns:
        The clients, and the files that were read.

    Raises:
        SettingsError: Something is wrong with one of them.
        OSError: One of them cannot be read.
    """
    file = parse_clients(path.read_bytes(), path)
    if file.jwt is None:
        return Clients(file, None), (path,)
    jwks = path.parent / file.jwt.jwks_file
    algorithms = frozenset(file.jwt.algorithms)
    try:
        keys = parse_jwks(jwks.read_bytes(), jwks, algorithms)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OthersRefused(
            f"jwt.jwks_file: expected a readable file, received {str(jwks)!r}: {reason}", (path, jwks)
        ) from error
    except SettingsError as error:
        raise OthersRefused(str(error), (path, jwks)) from error
    tokens = TokenVerifier(
        keys,
        issuer=file.jwt.issuer,
        audience=file.jwt.audience,
        client_claim=file.jwt.client_claim,
        algorithms=algorithms,
        leeway_seconds=file.jwt.leeway_seconds,
        clock=clock,
    )
    return Clients(file, tokens), (path, jwks)


def _known(name: str, rights: Rights, otherwise: tuple[str, ...] | None) -> KnownClient:
    methods = rights.methods if rights.methods is not None else otherwise
    return KnownClient(rights.caller(name), frozenset(methods) if methods is not None else None)
