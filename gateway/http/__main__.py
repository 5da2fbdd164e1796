"""``python -m gateway.http``: serves JSON over HTTP before a gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys

from twostage.rpc.environment import set_serving_defaults
from twostage.rpc.flags import run_server

_FLAGS = {
    "config": ("FILE", "a YAML file with settings"),
    "gateway": ("ADDRESS", "host:port of the gateway, or dns:///name:port of several; 127.0.0.1:50050"),
    "host": ("HOST", "the address to listen on; 127.0.0.1"),
    "port": ("PORT", "the HTTP port, 0 for any free one; 8080"),
    "metrics-port": ("PORT", "the HTTP port of /metrics, 0 for none; 9103"),
    "processes": ("N", "processes that share the port, auto for one per core; 1"),
    "max-body-bytes": ("N", "the largest request body; 4194304"),
    "max-connections": ("N", "connections of each process at a time, further ones are answered 503; 1024"),
    "body-seconds": ("S", "how long a caller may take to send a body; 10"),
    "cors-origins": ("ORIGINS", "by commas, the origins whose pages may ask, * for any; none"),
    "tls-certificate": ("FILE", "PEM of the server's certificate, read again when it changes; nothing is encrypted"),
    "tls-key": ("FILE", "PEM of its private key"),
    "tls-client-ca": ("FILE", "PEM of the authorities that sign clients' certificates, which are then required"),
    "gateway-tls-ca": ("FILE", "PEM of the authorities that may have signed the gateway's certificate"),
    "gateway-tls-certificate": ("FILE", "PEM of a certificate of this server's own, for a gateway that asks for one"),
    "gateway-tls-key": ("FILE", "PEM of its private key"),
    "gateway-tls-server-name": ("NAME", "the name in the gateway's certificate; the address's host"),
    "log-level": ("LEVEL", "DEBUG, INFO, WARNING or ERROR; INFO"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the HTTP face.

    Args:
        arguments: The command line without the program's name; the process's own when None.

    Returns:
        The exit code: 0 after an orderly stop, 1 when it could not start, 2 for a wrong setting.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gateway.http",
        description="JSON over HTTP for the public methods of a gateway, which it calls over gRPC. Every setting may "
        "also come from the environment, TWOSTAGE_HTTP_<NAME>, or a YAML file (--config).",
    )
    for name, (metavar, text) in _FLAGS.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    flags = vars(parser.parse_args(arguments))
    set_serving_defaults()
    return run_server("gateway.http", flags)


if __name__ == "__main__":
    sys.exit(main())
