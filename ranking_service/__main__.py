"""``python -m ranking_service --store DIR``: runs the ranking service until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from ranking_service.server import build
from ranking_service.servicer import SERVICE
from ranking_service.settings import RankingSettings
from twostage.rpc.launch import launch


def main(arguments: list[str] | None = None) -> int:
    """Runs the service.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code, as twostage.rpc.launch documents it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ranking_service",
        description="Scores candidates on a model server and selects the best. Every setting may also come from "
        "the environment, TWOSTAGE_RANKING_<NAME>, or a YAML file (--config).",
    )
    parser.add_argument("--config", metavar="FILE", help="a YAML file with settings")
    parser.add_argument("--store", metavar="DIR", help="the store of generations")
    parser.add_argument("--model-server", metavar="ADDRESS", help="host:port or unix:///path; 127.0.0.1:8500")
    parser.add_argument("--model-server-wait-seconds", metavar="S", help="how long a start waits for it; 60")
    parser.add_argument("--host", help="the address to listen on; 127.0.0.1")
    parser.add_argument("--port", help="the gRPC port, 0 for any free one; 50052")
    parser.add_argument("--metrics-port", metavar="PORT", help="the HTTP port of /metrics, 0 for none; 9102")
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR; INFO")
    parser.add_argument("--log-requests", metavar="WHICH", help="all, or errors (failed and slow ones); errors")
    return launch(SERVICE, RankingSettings, vars(parser.parse_args(arguments)), build)


if __name__ == "__main__":
    sys.exit(main())
