"""The small text protos that flags point to: ``SSLConfig`` and ``MonitoringConfig``.

The package of TensorFlow Serving's messages leaves these two out, so they are declared here, by the names and numbers
of ``tensorflow_serving/config/ssl_config.proto`` and ``monitoring_config.proto``. Needs no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from model_server.flags import FlagError

METRICS_PATH = "/monitoring/prometheus/metrics"

_PACKAGE = "tensorflow.serving"
_TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_BOOLEAN = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_MESSAGES: dict[str, tuple[tuple[str, int | str], ...]] = {
    "SSLConfig": (("server_key", _TEXT), ("server_cert", _TEXT), ("custom_ca", _TEXT), ("client_verify", _BOOLEAN)),
    "PrometheusConfig": (("enable", _BOOLEAN), ("path", _TEXT)),
    "MonitoringConfig": (("prometheus_config", "PrometheusConfig"),),
}


@dataclass(frozen=True)
class SslConfig:
    """What TLS needs, as PEM.

    Args:
        server_key: The server's private key.
        server_certificate: Its certificate, with intermediate ones after it.
        client_authority: Who signs the certificates of clients; empty is the system's choice.
        client_required: Whether a client must show a certificate.
    """

    server_key: bytes
    server_certificate: bytes
    client_authority: bytes
    client_required: bool


def read_ssl_config(path: str) -> SslConfig:
    """Reads the file of ``--ssl_config_file``.

    Raises:
        FlagError: It cannot be read, or holds no key or no certificate.
    """
    message = _read("ssl_config_file", path, "SSLConfig")
    for field in ("server_key", "server_cert"):
        if not getattr(message, field):
            raise FlagError(f"--ssl_config_file={path}: expected {field} with PEM text, got none")
    return SslConfig(
        message.server_key.encode(), message.server_cert.encode(), message.custom_ca.encode(), message.client_verify
    )


def read_metrics_path(path: str) -> str | None:
    """Reads the file of ``--monitoring_config_file``.

    Returns:
        The HTTP path of the metrics, or None when they are not to be exposed.

    Raises:
        FlagError: It cannot be read, or its path is none.
    """
    message = _read("monitoring_config_file", path, "MonitoringConfig").prometheus_config
    if not message.enable:
        return None
    if message.path and not message.path.startswith("/"):
        raise FlagError(f"--monitoring_config_file={path}: expected a path that begins with /, got {message.path!r}")
    return message.path or METRICS_PATH


def _read(flag: str, path: str, name: str) -> Any:
    message = _message(name)
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except OSError as error:
        raise FlagError(f"--{flag}={path}: {error.strerror}") from None
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise FlagError(f"--{flag}={path}: expected a text proto of {_PACKAGE}.{name}: {error}") from None
    return message


def _message(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="flags.proto", package=_PACKAGE, syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, (field_name, kind) in enumerate(fields, start=1):
            field = message.field.add(name=field_name, number=number, label=1)
            if isinstance(kind, str):
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = kind  # type: ignore[assignment]  # an enum's number
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))()
