"""``twostage generations sync``: keeps a folder at what a store offers, for servers that read a folder."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, Gauge
from structlog.typing import FilteringBoundLogger

from twostage.bundle.errors import BundleError, LocationUnsupported
from twostage.bundle.location import check_path, is_url
from twostage.bundle.open_store import open_store
from twostage.bundle.reads import READS
from twostage.bundle.remote_store import RemoteStore
from twostage.commands.transfer_progress import transfer_progress
from twostage.finite_numbers import FiniteRange
from twostage.generations.mirror import DEFAULT_KEPT, LEAST_KEPT, Mirror
from twostage.generations.reason import reason_of
from twostage.options import read_location
from twostage.rpc.address import AddressUnavailable
from twostage.rpc.log import configure_logging
from twostage.rpc.metrics_endpoint import MetricsEndpoint
from twostage.rpc.signals import Interrupted, StopSignals

_HOST = "0.0.0.0"  # noqa: S104 - what scrapes a pod's metrics comes from outside


@click.command()
@click.argument("source", metavar="SOURCE", callback=read_location, envvar="TWOSTAGE_SYNC_SOURCE")
@click.option(
    "--store",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    envvar="TWOSTAGE_STORE",
    show_envvar=True,
    help="The folder, which nobody else writes to.",
)
@click.option("--once", is_flag=True, help="End as soon as the folder is at what SOURCE offers.")
@click.option(
    "--wait-seconds",
    type=FiniteRange(0, 86_400),
    default=0.0,
    show_default=True,
    help="With --once, how long to go on trying.",
)
@click.option("--optional", is_flag=True, help="With --once, end with 0 also when there is nothing to copy.")
@click.option(
    "--for",
    "service",
    type=click.Choice(list(READS)),
    default="all",
    show_default=True,
    help="Copy what this service reads; ranking's part holds the models.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=LEAST_KEPT),
    default=DEFAULT_KEPT,
    show_default=True,
    help="Generations that stay in the folder.",
)
@click.option("--poll-seconds", type=FiniteRange(0.1, 3600), default=5.0, show_default=True, help="Between looks.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Serve /metrics, /livez and /readyz here, on all interfaces; 0 serves none.",
)
def sync(
    source: Path | str,
    folder: Path,
    once: bool,
    wait_seconds: float,
    optional: bool,
    service: str,
    keep: int,
    poll_seconds: float,
    metrics_port: int,
) -> None:
    """Keep a folder at what SOURCE, a store's URL or folder, offers: its current generation and the one before.

    The folder is a store of its own, for servers beside which this command runs, with --once before them and then
    without. CURRENT moves there when everything is copied with the sums of its manifest. A SOURCE that cannot be read
    is tried again; the folder then stays as it is.
    """
    if not once and (wait_seconds or optional):
        raise click.UsageError("--wait-seconds and --optional go with --once")
    logger = configure_logging("sync")
    mirror = Mirror(
        _remote(source, folder),
        READS[service],
        kept_count=keep,
        logger=logger,
        watched=lambda number: transfer_progress(f"generation {number}"),
    )
    with ExitStack() as resources:
        watch = Watch(mirror, logger)
        if metrics_port:
            try:
                endpoint = MetricsEndpoint(watch.registry, _HOST, metrics_port, watch.not_ready)
            except AddressUnavailable as error:
                raise click.ClickException(str(error)) from error
            resources.callback(endpoint.close)
        signals = resources.enter_context(StopSignals())
        try:
            if once:
                _once(watch, signals, wait_seconds, poll_seconds, optional=optional)
            else:
                _follow(watch, signals, poll_seconds)
        except Interrupted as interrupted:
            logger.info("stopped", signals=signals.received)
            if once:
                # Whoever waits for the end must not take it for a copy.
                raise click.ClickException("stopped before everything was copied") from interrupted


class Watch:
    """Looks at the source again and again, and tells of what changes.

    Args:
        mirror: What is kept.
        logger: Is told why there is nothing new, once for each reason.

    Attributes:
        registry: ``twostage_sync_generation`` and ``twostage_sync_last_success_timestamp_seconds``.
    """

    def __init__(self, mirror: Mirror, logger: FilteringBoundLogger) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._generation = Gauge(
            "twostage_sync_generation", "The generation that the folder's CURRENT names.", registry=self.registry
        )
        self._seen_at = Gauge(
            "twostage_sync_last_success_timestamp_seconds",
            "When the source was last read and the folder was at what it offers.",
            registry=self.registry,
        )
        self._mirror = mirror
        self._logger = logger
        self._failure: Exception | None = None
        self._copied = False

    def not_ready(self) -> str | None:
        """Why the folder holds nothing yet."""
        return None if self._copied else f"nothing is copied yet: {self._failure or 'looking'}"

    def look(self) -> Exception | None:
        """Looks once.

        Returns:
            What kept the folder from being at what the source offers; None when it is there.
        """
        try:
            number = self._mirror.step()
        except (BundleError, OSError) as error:
            if self._failure is None or reason_of(self._failure) != reason_of(error):
                self._logger.warning("the source cannot be copied", reason=reason_of(error))
            self._failure = error.with_traceback(None)
            return error
        if self._failure is not None and self._copied:
            self._logger.info("the source can be copied again", generation=number)
        self._failure, self._copied = None, True
        self._generation.set(number)
        self._seen_at.set_to_current_time()
        return None


def _once(watch: Watch, signals: StopSignals, wait_seconds: float, poll_seconds: float, *, optional: bool) -> None:
    deadline = time.monotonic() + wait_seconds
    with signals.interrupting():
        while (failure := watch.look()) is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                if optional:
                    return
                raise click.ClickException(reason_of(failure)) from failure
            time.sleep(min(poll_seconds, left))


def _follow(watch: Watch, signals: StopSignals, poll_seconds: float) -> None:
    while True:
        with signals.interrupting():
            watch.look()
        if signals.wait(poll_seconds):
            return


def _remote(source: Path | str, folder: Path) -> RemoteStore:
    try:
        folder = check_path(folder)
        url = str(source) if is_url(source) else Path(source).absolute().as_uri()
        store = open_store(url, cache=folder)
    except LocationUnsupported as error:
        raise click.UsageError(str(error)) from error
    assert isinstance(store, RemoteStore)
    return store
