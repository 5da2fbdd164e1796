"""``python -m ranking_service --store DIR``: runs the ranking service until it is told to stop."""

from __future__ import annotations

import sys

from ranking_service.server import build
from ranking_service.servicer import SERVICE
from ranking_service.settings import RankingSettings
from twostage.rpc.flags import service_parser
from twostage.rpc.launch import launch

_FLAGS = {
    "model-server": ("ADDRESS", "host:port or unix:///path; 127.0.0.1:8500"),
    "model-server-wait-seconds": ("S", "how long a start waits for it; 60"),
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
    return launch(SERVICE, RankingSettings, vars(parser.parse_args(arguments)), build)


if __name__ == "__main__":
    sys.exit(main())
