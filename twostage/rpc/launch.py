"""From a service's flags to its exit code: settings, logs, allocator, server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from twostage.rpc.allocator import tune_allocator
from twostage.rpc.complaint import complain
from twostage.rpc.log import configure_logging
from twostage.rpc.server import ServiceServer, serve
from twostage.rpc.settings import ServiceSettings, SettingsError, load_settings
from twostage.rpc.worker import Worker

S = TypeVar("S", bound=ServiceSettings)
Prepare = Callable[[], None]


def launch(
    service: str,
    settings_class: type[S],
    flags: Mapping[str, object],
    build: Callable[[S, FilteringBoundLogger], tuple[ServiceServer, Prepare]],
) -> int:
    """Runs a service in this process; `twostage.rpc.flags.run_server` runs it in several where the settings say so.

    Args:
        service: Its short name, e.g. ``ranking``.
        settings_class: Its settings.
        flags: What the command line gave, by field name; None for what it did not.
        build: Makes the server and the function that loads what it serves, given settings and a logger.

    Returns:
        The exit code: 0 after an orderly stop, 1 when it could not start, 2 for a wrong setting; for the last two one
        line on standard error says why.
    """
    worker = Worker.current()
    if worker is not None:
        worker.end_with_parent()
    try:
        settings = load_settings(settings_class, flags)
    except SettingsError as error:
        complain(service, error)
        return 2
    logger = configure_logging(service, level=settings.log_level, log_format=settings.log_format)
    if worker is not None:
        logger = logger.bind(worker=worker.number)
    tune_allocator()
    try:
        server, prepare = build(settings, logger)
    except SettingsError as error:
        # What a setting names is not what it should be, e.g. a certificate.
        complain(service, error)
        return 2
    except (OSError, ValueError) as error:
        complain(service, error)
        return 1
    return serve(server, prepare)
