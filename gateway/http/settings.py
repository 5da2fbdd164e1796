"""What the HTTP face can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from twostage.gateway_access import GatewayAccess
from twostage.rpc.settings import Port, ServiceSettings, check_whole

_OF_GRPC = (
    "max_workers",
    "max_concurrent_requests",
    "max_metadata_bytes",
    "max_concurrent_streams",
    "max_connection_age_seconds",
    "tls_client_names",
    "reflection",
    "log_requests",
    "slow_request_ms",
)
"""Settings that all services share and that mean nothing here; to state one is a mistake."""


class HttpSettings(ServiceSettings):
    """The HTTP face's settings; each is a flag, a variable ``TWOSTAGE_HTTP_…`` or a key of the YAML file.

    Attributes:
        port: Where it listens.
        gateway: The gateway, ``host:port``, or ``dns:///name:port`` for several.
        max_body_bytes: The largest request body; larger ones are answered 413. 4 MiB by default, below what gRPC takes:
            JSON of that size keeps a process busy for a tenth of a second.
        max_connections: Connections of each process at a time; further ones are answered 503.
        max_wait_seconds: How long a caller that states no ``Connect-Timeout-Ms`` is kept waiting at most. The gateway
            answers such callers within its own default deadline; this is for a gateway that hangs.
        body_seconds: How long a caller may take to send a body, else 408, and the head before it, else the connection
            is closed.
        idle_seconds: How long a connection may rest between two requests.
        cors_origins: The origins by commas whose pages may ask, e.g. ``https://shop.example``; ``*`` for any; none when
            unset.
        gateway_tls: Whether the connection to the gateway is encrypted; when unset exactly where one of the next four
            is given.
        gateway_tls_ca: PEM file of the authorities that may have signed the gateway's certificate.
        gateway_tls_certificate: PEM file of a certificate of this server's own, for a gateway that asks for one.
        gateway_tls_key: PEM file of its private key.
        gateway_tls_server_name: The name that the gateway's certificate must carry; the address's host when unset.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_HTTP_")

    port: Port = 8080
    metrics_port: Port = 9103
    gateway: Annotated[str, Field(min_length=1)] = "127.0.0.1:50050"
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = 4 * 2**20
    max_connections: Annotated[int, Field(ge=1, le=65_536)] = 1024
    max_wait_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    body_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    idle_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    cors_origins: str | None = None
    gateway_tls: bool | None = None
    gateway_tls_ca: Path | None = None
    gateway_tls_certificate: Path | None = None
    gateway_tls_key: Path | None = None
    gateway_tls_server_name: str | None = None

    @model_validator(mode="after")
    def _are_of_http(self) -> Self:
        for name in _OF_GRPC:
            if name in self.model_fields_set:
                raise ValueError(f"{name}: expected none, for it is of gRPC servers alone, received a value")
        check_whole("gateway_tls", self.gateway_tls_certificate, self.gateway_tls_key)
        for origin in self.allowed_origins:
            scheme, separator, rest = origin.partition("://")
            if origin != "*" and (scheme not in {"http", "https"} or not separator or not rest or "/" in rest):
                raise ValueError(f"cors_origins: expected origins such as https://shop.example, received {origin!r}")
        return self

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins whose pages may ask; ``*`` among them when any may."""
        return frozenset(each.strip() for each in (self.cors_origins or "").split(",") if each.strip())

    def gateway_access(self) -> GatewayAccess:
        """How the gateway is reached. The credentials are those that each caller brings.

        Raises:
            AccessInvalid: What is said of TLS contradicts itself.
        """
        return GatewayAccess(
            tls=self.gateway_tls,
            tls_ca=self.gateway_tls_ca,
            tls_certificate=self.gateway_tls_certificate,
            tls_key=self.gateway_tls_key,
            tls_server_name=self.gateway_tls_server_name,
        )
