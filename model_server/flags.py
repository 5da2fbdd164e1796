"""The command line: the names, defaults and meanings of ``tensorflow_model_server``, as far as this server goes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

from model_server.real_flags import REFUSED

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1
_CPU_COUNT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class FlagError(Exception):
    """A flag that cannot be served, or a combination of flags that means nothing."""


@dataclass(frozen=True)
class Flags:
    """Settings of the server, named as their flags are.

    Args:
        port: TCP port for gRPC. 0 listens on ``grpc_socket_path`` alone, or on a free port when there is none.
        grpc_socket_path: A Unix socket to listen on too; empty is none.
        grpc_max_threads: Calls at the same time, 4 for each CPU by default; one more is RESOURCE_EXHAUSTED.
        grpc_channel_arguments: Options of the gRPC server, ``name=value`` with commas between them.
        ssl_config_file: Text proto of ``tensorflow.serving.SSLConfig``; empty serves in the clear.
        enable_grpc_healthcheck_service: Serve ``grpc.health.v1``.
        rest_api_port: TCP port for model status, metadata and metrics over HTTP; 0 is none.
        rest_api_num_threads: HTTP requests at the same time, 4 for each CPU by default.
        rest_api_timeout_in_ms: How long an HTTP client may take to send or to read.
        monitoring_config_file: Text proto of ``tensorflow.serving.MonitoringConfig``; empty exposes no metrics.
        model_config_file: Text proto of ``tensorflow.serving.ModelServerConfig``; empty is none.
        model_config_file_poll_wait_seconds: Between two looks at the config file; 0 reads it once.
        model_name: The name of the single model when there is no config file.
        model_base_path: Its absolute base path; the versions are folders below it. Ignored with a config file.
        file_system_poll_wait_seconds: Between two looks at the disk; 0 looks once, at the start.
        flush_filesystem_caches: Accepted and without effect, as in the real server on a local disk.
        tensorflow_session_parallelism: Both of the next two at once.
        tensorflow_intra_op_parallelism: Threads inside an operation; 0 lets TensorFlow choose.
        tensorflow_inter_op_parallelism: Threads for operations side by side; 0 lets TensorFlow choose.
        num_load_threads: Threads that load; 0 is read as 1, so that loading never holds back anything else.
        num_unload_threads: Threads that unload; 0 is read as 1.
        max_num_load_retries: Further tries after a load failed.
        load_retry_interval_micros: Between two tries; a negative one does not wait.
        enable_model_warmup: Run the requests that a model brings before it becomes available.
        num_request_iterations_for_warmup: How often each of them is run; 0 is once.
        allow_version_labels_for_unavailable_models: Accept labels of versions that are not available (yet).
        enable_signature_method_name_check: Refuse calls of signatures that were exported for another method.
        enable_serialization_as_tensor_content: Answer with ``tensor_content`` instead of typed lists.
        version: Print the versions and end.
        aspired_version_policy: ``availability_preserving`` loads a new version before the old one goes, as the real
            server does; ``resource_preserving`` after. This server's own.
        host: The address to listen on. This server's own: the real one listens everywhere.
    """

    port: int = 8500
    grpc_socket_path: str = ""
    grpc_max_threads: int = 4 * _CPU_COUNT
    grpc_channel_arguments: str = ""
    ssl_config_file: str = ""
    enable_grpc_healthcheck_service: bool = False
    rest_api_port: int = 0
    rest_api_num_threads: int = 4 * _CPU_COUNT
    rest_api_timeout_in_ms: int = 30_000
    monitoring_config_file: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    model_name: str = "default"
    model_base_path: str = ""
    file_system_poll_wait_seconds: int = 1
    flush_filesystem_caches: bool = True
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    allow_version_labels_for_unavailable_models: bool = False
    enable_signature_method_name_check: bool = False
    enable_serialization_as_tensor_content: bool = False
    version: bool = False
    aspired_version_policy: str = "availability_preserving"
    host: str = "127.0.0.1"

    @property
    def channel_arguments(self) -> tuple[tuple[str, int | str], ...]:
        """``grpc_channel_arguments``, taken apart; what reads as an integer is one."""
        pairs = (one.partition("=") for one in self.grpc_channel_arguments.split(",") if one)
        return tuple((name, _integer_or_text(value)) for name, _, value in pairs)

    @property
    def intra_op_threads(self) -> int:
        """Threads inside an operation; 0 lets TensorFlow choose."""
        return self._threads(self.tensorflow_intra_op_parallelism)

    @property
    def inter_op_threads(self) -> int:
        """Threads for operations side by side; 0 lets TensorFlow choose."""
        return self._threads(self.tensorflow_inter_op_parallelism)

    def _threads(self, one: int) -> int:
        apart = self.tensorflow_intra_op_parallelism or self.tensorflow_inter_op_parallelism
        return one if apart else self.tensorflow_session_parallelism


_LEAST = {
    "grpc_max_threads": 1,
    "rest_api_num_threads": 1,
    "rest_api_timeout_in_ms": 1,
    "load_retry_interval_micros": -_INT64_MAX,
}
_MOST = {"port": 65535, "rest_api_port": 65535, "load_retry_interval_micros": _INT64_MAX}
_POLICIES = ("availability_preserving", "resource_preserving")
_FILES = ("model_config_file", "ssl_config_file", "monitoring_config_file")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FlagError(message)


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Reads the command line.

    Raises:
        FlagError: An unknown flag, a value that cannot be read or is out of range, a flag for something this server
            does not offer, a file that cannot be read, or neither a config file nor a base path.
    """
    parser = _Parser(prog="python -m model_server", allow_abbrev=False)
    for field in fields(Flags):
        if isinstance(field.default, bool):
            parser.add_argument(f"--{field.name}", type=_boolean, nargs="?", const=True, default=field.default)
        else:
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    for name in REFUSED:
        parser.add_argument(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise FlagError(f"unknown flag: {unknown[0]}")
    values = vars(parsed)
    for name, refused in REFUSED.items():
        given = values.pop(name)
        if given is not None and given.lower() not in refused.harmless:
            raise FlagError(f"--{name}={given} is not supported by the embedded server: {refused.reason}")
    flags = Flags(**values)
    if not flags.version:
        _check(flags)
    return flags


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")


def _integer_or_text(text: str) -> int | str:
    try:
        number = int(text)
    except ValueError:
        return text
    # As in the real server what is no int of C is a text.
    return number if -_INT32_MAX - 1 <= number <= _INT32_MAX else text


def _check(flags: Flags) -> None:
    for field in fields(Flags):
        value = getattr(flags, field.name)
        least, most = _LEAST.get(field.name, 0), _MOST.get(field.name, _INT32_MAX)
        if isinstance(value, int) and not least <= value <= most:
            expected = f"{least} to {most}" if most < _INT32_MAX else f"{least} or more"
            raise FlagError(f"--{field.name}={value}: expected {expected}")
    if flags.aspired_version_policy not in _POLICIES:
        raise FlagError(f"--aspired_version_policy={flags.aspired_version_policy}: expected {' or '.join(_POLICIES)}")
    if flags.port and flags.port == flags.rest_api_port:
        raise FlagError(f"--rest_api_port={flags.rest_api_port}: expected another port than --port")
    if flags.monitoring_config_file and not flags.rest_api_port:
        raise FlagError("--monitoring_config_file: expected --rest_api_port too, which exposes the metrics")
    for one in flags.grpc_channel_arguments.split(",") if flags.grpc_channel_arguments else ():
        if not one.partition("=")[0] or "=" not in one:
            raise FlagError(f"--grpc_channel_arguments: expected name=value with commas between, got {one!r}")
    if (
        flags.tensorflow_session_parallelism
        and flags.tensorflow_intra_op_parallelism
        and flags.tensorflow_inter_op_parallelism
    ):
        raise FlagError(
            "--tensorflow_session_parallelism: expected without both --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism"
        )
    if not flags.model_config_file and not flags.model_base_path:
        raise FlagError(
            "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if flags.model_config_file_poll_wait_seconds and not flags.model_config_file:
        raise FlagError("--model_config_file_poll_wait_seconds: expected --model_config_file too")
    for name in _FILES:
        _require_readable(name, getattr(flags, name))


def _require_readable(name: str, path: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise FlagError(f"--{name}={path}: {error.strerror}") from None
