"""The command-line flags that every service has.

Apart from twostage.rpc.launch because it must load nothing: some services set what libraries read from the
environment between reading their flags and importing those libraries.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

Flags = Mapping[str, tuple[str, str]]
"""Name to the value's name and what it means."""


def service_parser(
    module: str, description: str, own: Flags, *, port: int, metrics_port: int
) -> argparse.ArgumentParser:
    """Makes the parser of a service's command line.

    Values stay text and are None where they were not given: the settings check them, whatever source they come from.

    Args:
        module: What is run, e.g. ``ranking_service``; its settings' variables begin with ``TWOSTAGE_RANKING_``.
        description: What the service does, in a sentence.
        own: The service's own flags beside those that all have.
        port: Its gRPC port by default.
        metrics_port: Its port of ``/metrics`` by default.
    """
    prefix = f"TWOSTAGE_{module.removesuffix('_service').upper()}_"
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"{description} Every setting may also come from the environment, {prefix}<NAME>, or a YAML file "
        "(--config).",
    )
    flags: Flags = {
        "config": ("FILE", "a YAML file with settings"),
        "store": ("DIR", "the store of generations; its current one is served"),
        **own,
        "host": ("HOST", "the address to listen on; 127.0.0.1"),
        "port": ("PORT", f"the gRPC port, 0 for any free one; {port}"),
        "metrics-port": ("PORT", f"the HTTP port of /metrics, 0 for none; {metrics_port}"),
        "log-level": ("LEVEL", "DEBUG, INFO, WARNING or ERROR; INFO"),
        "log-requests": ("WHICH", "all, or errors (failed and slow ones); errors"),
    }
    for name, (metavar, text) in flags.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    return parser
