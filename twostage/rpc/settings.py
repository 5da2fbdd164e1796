"""Settings of a service: one frozen class, read once, from flags over environment over a YAML file.

A service subclasses `ServiceSettings`, sets its prefix and its own ports, and adds its fields::

    class GatewaySettings(ServiceSettings):
        model_config = SettingsConfigDict(env_prefix="TWOSTAGE_GATEWAY_")
        port: Port = 50050
        metrics_port: Port = 9100

    settings = load_settings(GatewaySettings, {"config": config, "port": port})

The file's path comes from the flag ``--config`` or the variable ``<prefix>CONFIG``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from twostage.rpc.cores import usable_core_count

DEFAULT_MAX_MESSAGE_BYTES = 20 * 2**20
"""What the largest request within the contract's bounds needs: 32 conditions of 2,000 values of 256 bytes, 16 MB of
its 19 MB."""
_MAX_PROCESSES = 256


def _read_processes(value: object) -> int:
    """Reads a number of processes, 0 for ``auto``."""
    expected = f"a whole number from 0 to {_MAX_PROCESSES} or auto"
    if value == "auto":
        return 0
    text = str(value)
    # Not every number: 2.0 and True are mistakes of a YAML file.
    if not (text.isascii() and text.isdecimal() and int(text) <= _MAX_PROCESSES):
        raise ValueError(expected)
    return int(text)


def _require_collector(url: str) -> str:
    try:
        parts = urlsplit(url)
        found = parts.scheme in {"http", "https"} and parts.hostname and parts.port and parts.path in {"", "/"}
    except ValueError:
        found = False
    if not found:
        raise ValueError("http://host:port or https://host:port")
    return url


def _require_spreading(count: int) -> int:
    if count > 1 and sys.platform != "linux":
        raise ValueError("1 or auto, because only Linux spreads the connections to a port over processes")
    return count


Port = Annotated[int, Field(ge=0, le=65535)]
GenerationNumber = Annotated[int, Field(ge=1)]
Processes = Annotated[int, BeforeValidator(_read_processes), AfterValidator(_require_spreading)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it, its value and what was expected."""


class ServiceSettings(BaseSettings):
    """What every service can be told.

    Attributes:
        config: The YAML file these settings were read from, if any.
        host: The address to listen on; the loopback interface by default, because without ``tls_certificate`` nothing
            is encrypted.
        port: The gRPC port; 0 lets the system choose a free one.
        metrics_port: The HTTP port of ``/metrics``; 0 turns it off.
        processes: How many processes serve the port, each a whole server of its own; 1 by default. ``auto`` or 0 means
            as many as there are cores that this process may use (`twostage.rpc.cores`). A client's connection stays
            with one of them, so clients need several; see docs/adr/0009.
        max_workers: Threads of each process that run requests; 8 by default. Python runs one at a time, FAISS and
            sockets do not.
        max_concurrent_requests: Requests running and waiting in each process beyond which new ones are refused;
            unbounded when unset.
        max_message_bytes: The largest message taken or sent; larger ones are RESOURCE_EXHAUSTED. 20 MiB by default,
            which the largest request within the contract's bounds needs; see docs/security.md.
        max_metadata_bytes: The largest metadata taken with a request; larger ones are RESOURCE_EXHAUSTED. 16 KiB by
            default.
        max_concurrent_streams: Requests of one connection at a time; further ones wait at the client, or are
            UNAVAILABLE where it is too quick. Unbounded when unset.
        max_connection_age_seconds: Connections older than this are closed gently, so that clients find new replicas;
            unlimited when unset, 300 with several processes, so that one that was started again gets its share.
        readiness_seconds: How long a stopping server still serves after it says NOT_SERVING, for load balancers to
            notice; 0 by default, right for one machine.
        grace_seconds: How long requests in flight may take to finish when the server stops; 10 by default.
        tls_certificate: PEM file of the server's certificate and those between it and its authority; nothing is
            encrypted when unset. Read again when it changes, as are the other files.
        tls_key: PEM file of its private key.
        tls_client_ca: PEM file of the authorities that sign clients' certificates; with it a client without one is
            turned away (mutual TLS).
        tls_client_names: Names by commas, one of which a client's certificate must carry; any name when unset.
        reload_seconds: Between two looks at files that change while the server runs; 1 by default.
        reflection: Whether the server tells strangers its methods and messages; yes by default.
        log_level: The least level that is logged.
        log_format: ``auto`` is readable on a terminal and JSON otherwise.
        log_requests: ``errors`` logs failed and slow requests, ``all`` every one (about 40 microseconds each).
        slow_request_ms: Requests that take longer are logged as slow.
        trace_endpoint: The OpenTelemetry collector that traces are sent to, ``http://host:port`` of its gRPC port or
            ``https://`` for TLS; nothing is traced when unset. Needs the extra ``tracing``; see docs/tracing.md.
        trace_share: The part of the traces begun here that is recorded, 0..1; 0.01 by default. A request whose caller
            traces it is recorded if the caller's trace is.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="TWOSTAGE_", env_ignore_empty=True, env_nested_delimiter="__"
    )

    config: Path | None = None
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 0
    metrics_port: Port = 0
    processes: Processes = 1
    max_workers: Annotated[int, Field(ge=1, le=1024)] = 8
    max_concurrent_requests: Annotated[int, Field(ge=1)] | None = None
    max_message_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = DEFAULT_MAX_MESSAGE_BYTES
    max_metadata_bytes: Annotated[int, Field(ge=1024, le=2**20)] = 16 * 1024
    max_concurrent_streams: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    max_connection_age_seconds: Annotated[float, Field(gt=0)] | None = None
    readiness_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tls_client_names: str | None = None
    reload_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    reflection: bool = True
    log_level: LogLevel = "INFO"
    log_format: Literal["auto", "console", "json"] = "auto"
    log_requests: Literal["all", "errors"] = "errors"
    slow_request_ms: Annotated[float, Field(ge=0)] = 250.0
    trace_endpoint: Annotated[str, AfterValidator(_require_collector)] | None = None
    trace_share: Annotated[float, Field(ge=0, le=1)] = 0.01

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        check_whole("tls", self.tls_certificate, self.tls_key)
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_certificate: expected a file beside tls_client_ca, received none")
        if self.tls_client_names is not None and (self.tls_client_ca is None or not self.allowed_client_names):
            raise ValueError(
                "tls_client_names: expected names by commas, and tls_client_ca beside them, "
                f"received {self.tls_client_names!r}"
            )
        return self

    @property
    def allowed_client_names(self) -> tuple[str, ...]:
        """The names of which a client's certificate must carry one; empty when any will do."""
        return tuple(name.strip() for name in (self.tls_client_names or "").split(",") if name.strip())

    @property
    def process_count(self) -> int:
        """How many processes serve the port, at least 1; ``auto`` is looked up."""
        if self.processes:
            return self.processes
        return usable_core_count() if sys.platform == "linux" else 1

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over file; no ``.env``, which would make the working directory matter."""
        del dotenv_settings, file_secret_settings
        assert isinstance(init_settings, InitSettingsSource)
        path = _config_path(cls, init_settings.init_kwargs)
        from_file = InitSettingsSource(settings_cls, init_kwargs=_read_yaml(path) if path is not None else {})
        return init_settings, env_settings, from_file


def check_whole(prefix: str, certificate: Path | None, key: Path | None) -> None:
    """Checks that a certificate and its key are given together or not at all.

    Args:
        prefix: Beginning of the settings' names, e.g. ``tls``.
        certificate: The setting ``<prefix>_certificate``.
        key: The setting ``<prefix>_key``.

    Raises:
        ValueError: One of them is missing; the message names it.
    """
    if (certificate is None) != (key is None):
        missing, given = ("key", "certificate") if key is None else ("certificate", "key")
        raise ValueError(f"{prefix}_{missing}: expected a file beside {prefix}_{given}, received none")


S = TypeVar("S", bound=ServiceSettings)


def load_settings(settings_class: type[S], flags: Mapping[str, object] | None = None) -> S:
    """Reads the settings of a service.

    Args:
        settings_class: The service's class.
        flags: Values given on the command line by field name; None stands for a flag that was not given.

    Raises:
        SettingsError: A value is wrong, a key of the file is unknown, or the file cannot be read.
    """
    given: dict[str, Any] = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return settings_class(**given)
    except ValidationError as error:
        lines = [_describe(settings_class, given, detail) for detail in error.errors()]
        raise SettingsError("; ".join(lines)) from error
    except SourceError as error:
        # A variable that should hold JSON (a list, a mapping) and does not.
        raise SettingsError(f"{settings_class.model_config['env_prefix']}*: {error}") from error


def _config_path(settings_class: type[ServiceSettings], flags: Mapping[str, Any]) -> Path | None:
    value = flags.get("config") or os.environ.get(f"{settings_class.model_config['env_prefix']}CONFIG")
    return Path(value) if value else None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config: expected a readable YAML file, received {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"config: expected YAML, received {path}: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"config: expected names and values, received {type(content).__name__} in {path}")
    return content


def _describe(settings_class: type[ServiceSettings], flags: Mapping[str, Any], detail: ErrorDetails) -> str:
    """One line about one wrong value: where it stands, what was expected, what came."""
    location = [str(part) for part in detail["loc"]]
    if not location:
        # A rule over several settings names them itself.
        return str(detail["msg"]).removeprefix("Value error, ")
    field = location[0]
    variable = f"{settings_class.model_config['env_prefix']}{'__'.join(location)}".upper()
    if field in flags:
        name = "--" + field.replace("_", "-")
    elif variable in os.environ or variable.removesuffix("__" + location[-1].upper()) in os.environ:
        name = variable
    elif (path := _config_path(settings_class, flags)) is not None:
        name = f"{'.'.join(location)} in {path}"
    else:
        name = variable
    if detail["type"] == "extra_forbidden":
        known = ", ".join(sorted(settings_class.model_fields))
        return f"{name}: expected one of the settings {known}; received an unknown name"
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{name}: expected a value, received none"
    annotation = settings_class.model_fields[field].annotation if field in settings_class.model_fields else None
    received = "a secret" if SecretStr in (annotation, *get_args(annotation)) else repr(detail["input"])
    return f"{name}: expected {expected}, received {received}"
