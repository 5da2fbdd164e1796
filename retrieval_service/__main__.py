"""``python -m retrieval_service --store DIR``: runs the retrieval service until it is told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module


def main(arguments: list[str] | None = None) -> int:
    """Runs the service.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m retrieval_service",
        description="Finds candidates in the catalogue of a store's current generation. Every setting may also come "
        "from the environment, TWOSTAGE_RETRIEVAL_<NAME>, or a YAML file (--config).",
    )
    parser.add_argument("--config", metavar="FILE", help="a YAML file with settings")
    parser.add_argument("--store", metavar="DIR", help="the store of generations")
    parser.add_argument("--host", help="the address to listen on; 127.0.0.1")
    parser.add_argument("--port", help="the gRPC port, 0 for any free one; 50051")
    parser.add_argument("--metrics-port", metavar="PORT", help="the HTTP port of /metrics, 0 for none; 9101")
    parser.add_argument(
        "--verify-checksums",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compare the sums of all files before serving; on",
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR; INFO")
    parser.add_argument("--log-requests", metavar="WHICH", help="all, or errors (failed and slow ones); errors")
    flags = vars(parser.parse_args(arguments))
    # Requests run side by side, each on one thread. NumPy's and FAISS's libraries read this when they are loaded,
    # and would otherwise start threads, with memory for each, that only get in the requests' way.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    exit_code: int = import_module("retrieval_service.server").run(flags)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
