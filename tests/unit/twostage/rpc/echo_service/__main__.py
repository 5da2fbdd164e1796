from __future__ import annotations

import sys

from twostage.rpc.environment import set_serving_defaults
from twostage.rpc.flags import run_server, service_parser


def main() -> int:
    parser = service_parser(
        "echo_service", "Echoes.", {"prepare": ("WHAT", "what loading does")}, port=0, metrics_port=0
    )
    flags = vars(parser.parse_args())
    # Those of services with a store.
    del flags["store"], flags["generation"]
    set_serving_defaults()
    return run_server("tests.unit.twostage.rpc.echo_service", flags)


if __name__ == "__main__":
    sys.exit(main())
