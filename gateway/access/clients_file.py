"""The file of the gateway's clients, as it is written.

::

    clients:
      - name: shop
        keys:
          - sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        priority: 7
        requests_per_second: 500
        burst: 1000
    jwt:
      jwks_file: jwks.json
      issuer: https://id.example
      audience: twostage
    anonymous:
      priority: 1
      requests_per_second: 20
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from twostage.rpc.caller import DEFAULT_PRIORITY, Caller
from twostage.rpc.settings import SettingsError
from twostage.v1 import gateway_pb2

METHODS = tuple(gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].methods_by_name)
"""The methods that a client may be allowed."""
PUBLIC_METHODS = ("Recommend", "SimilarItems")
"""What anybody may ask where nothing else is written: nothing of what is stored about people, and nothing to store."""
MAX_PRIORITY = 9
MAX_FILE_BYTES = 4 * 2**20
"""The largest file of clients or of keys; some ten thousand clients."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# What a hash of an empty file is, made by mistake: whoever sends an empty header would have the key.
_NOTHING = hashlib.sha256(b"").hexdigest()


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Key(_Part):
    """One of a client's keys.

    Attributes:
        sha256: The SHA-256 of the key's text, 64 hexadecimal digits.
        note: For people, e.g. since when it is used.
    """

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]
    note: str = ""


class Rights(_Part):
    """What somebody may do.

    Attributes:
        priority: 0..9, the higher the later it is refused when there is too much to do; 5 by default.
        requests_per_second: How many requests it may make on average, above 0; any number when unset.
        burst: How many at once after a silence, 1 or more; unset what it may make in a second, 1 at least.
        may_explain: Whether it may ask for explanations and traces; no by default.
        methods: The methods it may call; see where it is used what unset means.
    """

    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)] = DEFAULT_PRIORITY
    requests_per_second: Annotated[float, Field(gt=0, le=1e6, strict=False)] | None = None
    burst: Annotated[int, Field(ge=1, le=10**6)] | None = None
    may_explain: bool = False
    methods: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.burst is not None and self.requests_per_second is None:
            raise ValueError("burst: expected requests_per_second beside it, received none")
        for method in self.methods or ():
            if method not in METHODS:
                raise ValueError(f"methods: expected some of {', '.join(METHODS)}, received {method!r}")
        return self

    def caller(self, name: str) -> Caller:
        """The caller that has these rights."""
        rate = self.requests_per_second
        burst = self.burst if self.burst is not None else max(1, int(rate or 1))
        return Caller(name, self.priority, rate, burst, self.may_explain)


class Client(Rights):
    """A client.

    Attributes:
        name: Its name, 1..128 letters, digits and ``._@:/-``; tokens name it, logs and metrics too.
        keys: Its API keys, several while one is replaced by another; none for a client that comes with tokens.
    """

    name: Name
    keys: Annotated[tuple[Key, ...], Field(strict=False, max_length=16)] = ()


class Jwt(_Part):
    """Whose tokens are believed.

    Attributes:
        jwks_file: The public keys that sign them, a JWK set (RFC 7517); relative to the clients' file.
        issuer: What a token's ``iss`` must be.
        audience: What a token's ``aud`` must be or contain.
        client_claim: The claim that names the client; ``sub`` by default.
        algorithms: The algorithms that may sign; RS256, ES256 and EdDSA by default.
        leeway_seconds: How much the clocks may differ; 30 by default.
    """

    jwks_file: Annotated[Path, Field(strict=False)]
    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    client_claim: Annotated[str, Field(min_length=1)] = "sub"
    algorithms: Annotated[tuple[Algorithm, ...], Field(strict=False, min_length=1)] = ("RS256", "ES256", "EdDSA")
    leeway_seconds: Annotated[float, Field(ge=0, le=300, strict=False)] = 30.0


class ClientsFile(_Part):
    """The whole file.

    Attributes:
        clients: Everybody who is known.
        jwt: Whose tokens are believed; nobody's when unset.
        anonymous: What those may do who say nothing of themselves; they may do nothing when unset.
    """

    clients: Annotated[tuple[Client, ...], Field(strict=False)] = ()
    jwt: Jwt | None = None
    anonymous: Rights | None = None

    @model_validator(mode="after")
    def _tells_clients_apart(self) -> Self:
        names: set[str] = set()
        owners: dict[str, str] = {}
        for client in self.clients:
            if client.name in names:
                raise ValueError(f"clients: expected each name once, received {client.name} twice")
            names.add(client.name)
            for key in client.keys:
                digest = key.sha256.lower()
                if digest == _NOTHING:
                    raise ValueError(
                        f"clients: expected hashes of keys, received that of the empty text for {client.name}"
                    )
                if digest in owners:
                    raise ValueError(
                        f"clients: expected each key once, received one of {client.name} that {owners[digest]} has too"
                    )
                owners[digest] = client.name
            if not client.keys and self.jwt is None:
                raise ValueError(f"clients: expected keys of {client.name}, or jwt, received neither")
        if not self.clients and self.anonymous is None:
            raise ValueError("clients: expected one at least, or anonymous, received neither")
        return self


def parse_clients(content: bytes, path: Path) -> ClientsFile:
    """Reads the file.

    Args:
        content: YAML.
        path: Where it came from, for errors.

    Raises:
        SettingsError: Something is wrong with it; the message names the file, where in it, and what was expected. It
            shows no value: somebody may have written a key where its hash belongs.
    """
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"clients: expected at most {MAX_FILE_BYTES} bytes, received {len(content)} in {path}")
    try:
        document: Any = yaml.load(content, Loader=_Loader)  # noqa: S506 - a safe one of our own
    except Exception as error:
        # PyYAML raises all kinds of errors at values that are not what they look like, e.g. a 13th month.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise SettingsError(f"clients: expected YAML, received something else in {path}{where}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"clients: expected names and values, received {type(document).__name__} in {path}")
    try:
        return ClientsFile.model_validate(document)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(detail) for detail in error.errors()[:5]) + f"; in {path}") from error


class _Loader(yaml.CSafeLoader):
    """Refuses a name that stands twice: the last one would win silently, and with it another one's rights."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the base class does, once no name stands twice."""
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({str(name) for name in names}) < len(names):
            raise yaml.constructor.ConstructorError(None, None, "a name stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _describe(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "clients"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "value_error":
        # Rules over several values name what they are about.
        return f"{place}: {message}" if detail["loc"] else message
    if detail["type"] == "extra_forbidden":
        return f"{place}: expected no such name, received one"
    if detail["type"] == "missing":
        return f"{place}: expected a value, received none"
    return f"{place}: expected {message.removeprefix('Input should be ')}, received something else"
