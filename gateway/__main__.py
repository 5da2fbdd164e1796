"""``python -m gateway``: runs the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import sys

from twostage.rpc.environment import set_serving_defaults
from twostage.rpc.flags import run_server, service_parser

_FLAGS = {
    "users": ("FILE", "the SQLite file of the user store, made when absent"),
    "retrieval": (
        "ADDRESS",
        "host:port, replicas by commas, or dns:///name:port; one for each shard by semicolons; 127.0.0.1:50051",
    ),
    "ranking": ("ADDRESS", "as for retrieval; 127.0.0.1:50052"),
    "retrieval-connections": ("N", "connections to each replica of retrieval, about 4 for each of its processes; 1"),
    "ranking-connections": ("N", "as for retrieval; 1"),
    "candidate-count": ("N", "how many candidates retrieval is asked for; 500"),
    "default-deadline-ms": ("MS", "how long a caller without a deadline is taken to wait; 1000"),
    "generation-poll-seconds": ("S", "between two looks at the store's CURRENT, 0 for never again; 1"),
    "status-poll-seconds": ("S", "between two rounds of asking the stages which generations they hold; 1"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = service_parser(
        "gateway", "Answers Recommend, SimilarItems and RecordEvents.", _FLAGS, port=50050, metrics_port=9100
    )
    flags = vars(parser.parse_args(arguments))
    set_serving_defaults()
    return run_server("gateway", flags)


if __name__ == "__main__":
    sys.exit(main())
