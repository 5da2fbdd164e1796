"""``python -m ranking_service --store DIR``: runs the ranking service until it is told to stop."""

from __future__ import annotations

import sys

from twostage.rpc.environment import set_serving_defaults
from twostage.rpc.flags import run_server, service_parser

_FLAGS = {
    "model-server": ("ADDRESS", "host:port or unix:///path; 127.0.0.1:8500"),
    "model-server-wait-seconds": ("S", "how long it may take to have a generation's models; 60"),
    "model-config-file": ("FILE", "name the versions to hold in the model server's config; others do"),
    "model-retire-seconds": ("S", "how long a version stays named that is no longer needed; 10"),
    "generation-poll-seconds": ("S", "between two looks at the store's CURRENT, 0 for never again; 1"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the service.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = service_parser(
        "ranking_service",
        "Scores candidates on a model server and selects the best.",
        _FLAGS,
        port=50052,
        metrics_port=9102,
    )
    flags = vars(parser.parse_args(arguments))
    set_serving_defaults()
    return run_server("ranking_service", flags)


if __name__ == "__main__":
    sys.exit(main())
