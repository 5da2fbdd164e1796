"""The command-line flags that every service has, and the step from them to its server.

Apart from twostage.rpc.launch because it must load nothing: some services set what libraries read from the
environment between reading their flags and importing those libraries.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from importlib import import_module

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
        "store": ("DIR", "the store of generations"),
        "generation": ("N", "which generation is served; the store's current one"),
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


_OWN_PACKAGES = ("twostage", "gateway", "retrieval_service", "ranking_service")


def run_server(module: str, flags: Mapping[str, object]) -> int:
    """Imports ``<module>.server``, whose libraries may not be installed, and runs it.

    Args:
        module: What is run, e.g. ``ranking_service``; its libraries are the extra ``ranking``.
        flags: What the command line gave, by field name.

    Returns:
        The exit code, as twostage.rpc.launch documents it; 1 when a library is missing, which one line on standard
        error names.

    Raises:
        ImportError: A module of our own is missing: a defect, not an installation without an extra.
    """
    try:
        server = import_module(f"{module}.server")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library in _OWN_PACKAGES:
            raise
        extra = module.removesuffix("_service")
        reason = " ".join(str(error).split())
        sys.stderr.write(f"{extra}: error: {reason}; install the extra `{extra}`: pip install 'twostage[{extra}]'\n")
        return 1
    exit_code: int = server.run(flags)
    return exit_code
