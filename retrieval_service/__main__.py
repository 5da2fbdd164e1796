"""``python -m retrieval_service --store DIR``: runs the retrieval service until it is told to stop."""

from __future__ import annotations

import sys
from argparse import BooleanOptionalAction

from twostage.rpc.environment import set_serving_defaults
from twostage.rpc.flags import run_server, service_parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the service.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = service_parser(
        "retrieval_service",
        "Finds candidates in the catalogue of a store's generations.",
        {
            "generation-poll-seconds": ("S", "between two looks at the store's CURRENT, 0 for never again; 1"),
            "shard": ("I", "which of the index's shards is searched, from 0; the whole index"),
            "milvus-uri": ("URI", "search this Milvus instead of the bundle's index"),
            "milvus-token-file": ("FILE", "a file that holds what Milvus asks for, as user:password"),
            "milvus-prefix": ("NAME", "beginning of the collections' names; twostage"),
            "milvus-timeout-ms": ("MS", "how long one search may wait for Milvus; 250"),
            "milvus-effort": ("X", "multiplies how thoroughly Milvus searches; 1"),
        },
        port=50051,
        metrics_port=9101,
    )
    parser.add_argument(
        "--verify-checksums",
        action=BooleanOptionalAction,
        default=None,
        help="compare the sums of all files before serving; on",
    )
    flags = vars(parser.parse_args(arguments))
    set_serving_defaults()
    return run_server("retrieval_service", flags)


if __name__ == "__main__":
    sys.exit(main())
