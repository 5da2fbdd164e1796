"""``python -m gateway``: runs the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys

from gateway.server import SERVICE, build
from gateway.settings import GatewaySettings
from twostage.rpc.launch import launch

_FLAGS = {
    "config": "YAML file of settings",
    "store": "store whose current generation is answered from",
    "users": "SQLite file of the user store, made when absent",
    "retrieval": "where retrieval is: host:port, several by commas, or dns:///name:port (default 127.0.0.1:50051)",
    "ranking": "where ranking is (default 127.0.0.1:50052)",
    "host": "address to listen on (default 127.0.0.1)",
    "port": "gRPC port, 0 for a free one (default 50050)",
    "metrics_port": "HTTP port of /metrics, 0 for none (default 9100)",
    "candidate_count": "candidates to ask retrieval for (default 500)",
    "default_deadline_ms": "how long a caller without a deadline is taken to wait (default 1000)",
    "log_level": "DEBUG, INFO, WARNING or ERROR (default INFO)",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway; returns the exit code, see `twostage.rpc.launch.launch`."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="Answers Recommend and RecordEvents.",
        epilog="Every setting may also be given as TWOSTAGE_GATEWAY_<NAME> or in the YAML file.",
    )
    for name, text in _FLAGS.items():
        parser.add_argument("--" + name.replace("_", "-"), help=text)
    return launch(SERVICE, GatewaySettings, vars(parser.parse_args(arguments)), build)


if __name__ == "__main__":
    sys.exit(main())
