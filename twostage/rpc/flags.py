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
        "store-wait-seconds": ("SECONDS", "how long to wait for a generation that can be served, or forever; 0"),
        **own,
        "host": ("HOST", "the address to listen on; 127.0.0.1"),
        "port": ("PORT", f"the gRPC port, 0 for any free one; {port}"),
        "metrics-port": ("PORT", f"the HTTP port of /metrics, 0 for none; {metrics_port}"),
        "processes": ("N", "processes that share the port, auto for one per core; 1"),
        "tls-certificate": ("FILE", "PEM of the server's certificate; nothing is encrypted"),
        "tls-key": ("FILE", "PEM of its private key"),
        "tls-client-ca": ("FILE", "PEM of the authorities that sign clients' certificates, which are then required"),
        "tls-client-names": ("NAMES", "by commas, one of which a client's certificate must carry; any"),
        "log-level": ("LEVEL", "DEBUG, INFO, WARNING or ERROR; INFO"),
        "log-requests": ("WHICH", "all, or errors (failed and slow ones); errors"),
    }
    for name, (metavar, text) in flags.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    parser.add_argument(
        "--reflection",
        action=argparse.BooleanOptionalAction,
        help="tell strangers the methods and messages; yes",
    )
    return parser


_OWN_PACKAGES = ("twostage", "gateway", "retrieval_service", "ranking_service")


def run_server(module: str, flags: Mapping[str, object]) -> int:
    """Runs a service in this process, or in several that this one looks after where its settings ask for that.

    Imports ``<module>.server``, whose libraries may not be installed; the process that only looks after others does
    not, and reads ``<module>.settings`` alone.

    Args:
        module: What is run, e.g. ``ranking_service``: its extra is ``ranking``, its settings are the class
            ``RankingSettings`` of ``ranking_service.settings``.
        flags: What the command line gave, by field name.

    Returns:
        The exit code, as twostage.rpc.launch documents it; 1 when a library is missing, which one line on standard
        error names.

    Raises:
        ImportError: A module of our own is missing: a defect, not an installation without an extra.
    """
    service = module.rpartition(".")[2].removesuffix("_service")
    try:
        workers_exit_code = _run_workers(module, service, flags)
        if workers_exit_code is not None:
            return workers_exit_code
        server = import_module(f"{module}.server")
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library in _OWN_PACKAGES:
            raise
        reason = " ".join(str(error).split())
        sys.stderr.write(
            f"{service}: error: {reason}; install the extra `{service}`: pip install 'twostage[{service}]'\n"
        )
        return 1
    return int(server.run(flags))


def _run_workers(module: str, service: str, flags: Mapping[str, object]) -> int | None:
    """Runs a service in several processes where its settings ask for that; returns None where one is enough."""
    # Here and not above: reading flags loads nothing.
    from twostage.rpc.settings import SettingsError, load_settings  # noqa: PLC0415
    from twostage.rpc.worker import Worker  # noqa: PLC0415

    if Worker.current() is not None:
        return None
    settings_class = getattr(import_module(f"{module}.settings"), f"{service.capitalize()}Settings")
    try:
        settings = load_settings(settings_class, flags)
    except SettingsError as error:
        from twostage.rpc.complaint import complain  # noqa: PLC0415

        complain(service, error)
        return 2
    if settings.process_count == 1:
        return None
    from twostage.rpc.workers import run_workers  # noqa: PLC0415

    return run_workers(service, module, flags, settings)
