"""The model server of a stack: the real one where it is installed, the embedded one elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from twostage.processes import ServiceProcess

_FLAGS = (
    # The ranking service names other versions there when the store's CURRENT moves.
    "--model_config_file_poll_wait_seconds=1",
    # A request is one user's candidates and small: more threads inside it only fight each other.
    "--tensorflow_intra_op_parallelism=1",
    "--tensorflow_inter_op_parallelism=1",
    # Answers as bytes: lists of floats cost the reader several times as much.
    "--enable_serialization_as_tensor_content=true",
    # One bad version must neither freeze the others nor be tried for minutes.
    "--num_load_threads=1",
    "--num_unload_threads=1",
    "--max_num_load_retries=0",
)


def model_server_process(config: Path, port: int, on_line: Callable[[str, str], None]) -> ServiceProcess:
    """The model server as a child, not started.

    Args:
        config: Its config file, which must be there when it starts.
        port: Where it listens.
        on_line: Called with (name, line) for what it prints.
    """
    flags = [f"--port={port}", f"--model_config_file={config}", *_FLAGS]
    real = shutil.which("tensorflow_model_server")
    if real:
        return ServiceProcess("model server", [real, *flags, "--enable_profiler=false"], on_line=on_line)
    return ServiceProcess.python("model_server", *flags, name="model server", on_line=on_line)
