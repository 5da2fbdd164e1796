"""``python -m gateway``: runs the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

_FLAGS = {
    "config": ("FILE", "a YAML file with settings"),
    "store": ("DIR", "the store of generations; its current one is answered from"),
    "users": ("FILE", "the SQLite file of the user store, made when absent"),
    "retrieval": ("ADDRESS", "host:port, several by commas, or dns:///name:port; 127.0.0.1:50051"),
    "ranking": ("ADDRESS", "as for retrieval; 127.0.0.1:50052"),
    "host": ("HOST", "the address to listen on; 127.0.0.1"),
    "port": ("PORT", "the gRPC port, 0 for any free one; 50050"),
    "metrics-port": ("PORT", "the HTTP port of /metrics, 0 for none; 9100"),
    "candidate-count": ("N", "how many candidates retrieval is asked for; 500"),
    "default-deadline-ms": ("MS", "how long a caller without a deadline is taken to wait; 1000"),
    "log-level": ("LEVEL", "DEBUG, INFO, WARNING or ERROR; INFO"),
    "log-requests": ("WHICH", "all, or errors (failed and slow ones); errors"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="Answers Recommend and RecordEvents. Every setting may also come from the environment, "
        "TWOSTAGE_GATEWAY_<NAME>, or a YAML file (--config).",
    )
    for name, (metavar, text) in _FLAGS.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    flags = vars(parser.parse_args(arguments))
    # NumPy's library reads this when it is loaded, and would otherwise hold a thread and its memory for each core;
    # nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    exit_code: int = import_module("gateway.server").run(flags)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
