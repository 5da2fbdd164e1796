"""The command line: the names, defaults and meanings of ``tensorflow_model_server``, as far as this server goes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

_INT32_MAX = 2**31 - 1


class FlagError(Exception):
    """A flag that cannot be served, or a combination of flags that means nothing."""


@dataclass(frozen=True)
class Flags:
    """Settings of the server, named as their flags are.

    Args:
        port: TCP port to listen on; 0 takes a free one.
        grpc_socket_path: A Unix socket to listen on too; empty is none.
        model_config_file: Text proto of ``tensorflow.serving.ModelServerConfig``; empty is none.
        model_name: The name of the single model when there is no config file.
        model_base_path: Its absolute base path; the versions are folders below it. Ignored with a config file.
        file_system_poll_wait_seconds: Between two looks at the disk; 0 looks once, at the start.
        tensorflow_intra_op_parallelism: Threads inside an operation; 0 lets TensorFlow choose.
        tensorflow_inter_op_parallelism: Threads for operations side by side; 0 lets TensorFlow choose.
        num_load_threads: Threads that load; 0 is read as 1, so that loading never holds back anything else.
        num_unload_threads: Threads that unload; 0 is read as 1.
        max_num_load_retries: Further tries after a load failed.
        load_retry_interval_micros: Between two tries.
        grpc_max_threads: Calls at the same time, 4 for each CPU by default; one more is RESOURCE_EXHAUSTED.
        enable_model_warmup: Run the requests that a model brings before it becomes available.
        allow_version_labels_for_unavailable_models: Accept labels of versions that are not available (yet).
        enable_serialization_as_tensor_content: Answer with ``tensor_content`` instead of typed lists.
        host: The address to listen on. This server's own: the real one listens everywhere.
    """

    port: int = 8500
    grpc_socket_path: str = ""
    model_config_file: str = ""
    model_name: str = "default"
    model_base_path: str = ""
    file_system_poll_wait_seconds: int = 1
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    grpc_max_threads: int = 4 * (os.cpu_count() or 1)
    enable_model_warmup: bool = True
    allow_version_labels_for_unavailable_models: bool = False
    enable_serialization_as_tensor_content: bool = False
    host: str = "127.0.0.1"


_LEAST = {"grpc_max_threads": 1}
# Off is all that this server can do, and what a command line written for the real one may say.
_OFF_ONLY = {
    "rest_api_port": "0",
    "enable_batching": "false",
    "enable_profiler": "false",
    "enable_grpc_healthcheck_service": "false",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FlagError(message)


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Reads the command line.

    Raises:
        FlagError: An unknown flag, a value that cannot be read or is out of range, a flag for something this server
            does not offer, or neither a config file nor a base path.
    """
    parser = _Parser(prog="python -m model_server", allow_abbrev=False)
    for field in fields(Flags):
        if isinstance(field.default, bool):
            parser.add_argument(f"--{field.name}", type=_boolean, nargs="?", const=True, default=field.default)
        else:
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    for name, off in _OFF_ONLY.items():
        parser.add_argument(f"--{name}", nargs="?", const="true", default=off, help=argparse.SUPPRESS)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise FlagError(f"unknown or unsupported flag: {unknown[0]}")
    values = vars(parsed)
    for name, off in _OFF_ONLY.items():
        given = values.pop(name)
        if given.lower() not in (off, "0"):
            raise FlagError(f"--{name}={given} is not supported by the embedded server; expected {off}")
    flags = Flags(**values)
    _check(flags)
    return flags


def _check(flags: Flags) -> None:
    for field in fields(Flags):
        value = getattr(flags, field.name)
        least = _LEAST.get(field.name, 0)
        if isinstance(value, int) and not least <= value <= _INT32_MAX:
            raise FlagError(f"--{field.name}={value}: expected {least} or more")
    if flags.port > 65535:
        raise FlagError(f"--port={flags.port}: expected 0 to 65535")
    if not flags.model_config_file and not flags.model_base_path:
        raise FlagError("expected --model_config_file, or --model_base_path with --model_name; neither was given")
    if flags.model_config_file and not Path(flags.model_config_file).is_file():
        raise FlagError(f"--model_config_file={flags.model_config_file}: no such file")
