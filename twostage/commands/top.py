"""``twostage top``: a live view of what the servers do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import click
from rich.live import Live

from twostage.finite_numbers import FiniteRange
from twostage.rpc.targets import Target, parse_target
from twostage.terminal import make_console
from twostage.top.figures import figures
from twostage.top.scrape import Sample, scrape
from twostage.top.view import view
from twostage.top.window import Window

_DEFAULT = ("127.0.0.1:9100", "127.0.0.1:9101", "127.0.0.1:9102")
_MAX_SERVERS = 64


def _read_targets(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> list[Target]:
    try:
        targets = [parse_target(value) for value in values]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    for target in targets:
        if "unix:" in target.text:
            raise click.BadParameter(f"expected host:port or dns:///name:port, received {target.text!r}")
    return targets


@click.command()
@click.option(
    "--metrics",
    "targets",
    multiple=True,
    default=_DEFAULT,
    show_default=True,
    callback=_read_targets,
    metavar="HOST:PORT",
    help="Where a server's metrics are; may be repeated. dns:///NAME:PORT is every address of a name.",
)
@click.option("--interval", type=FiniteRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option(
    "--window", "window_seconds", type=FiniteRange(1, 600), default=10.0, show_default=True, help="Seconds looked back."
)
@click.option("--once", is_flag=True, help="Look twice, --window apart, print and end.")
def top(targets: list[Target], interval: float, window_seconds: float, once: bool) -> None:
    """Watch stages, rungs, percentiles and generations live; Ctrl-C ends it.

    Reads the servers' metrics and asks nothing of the gateway. Percentiles are interpolated within a histogram's
    buckets. With --once exits with 1 when a server did not answer.
    """
    console = make_console()
    window = Window(window_seconds)
    with ThreadPoolExecutor(_MAX_SERVERS, thread_name_prefix="scrape") as pool:
        window.add(_look(pool, targets, interval))
        if once:
            time.sleep(window_seconds)
            window.add(_look(pool, targets, interval))
            shown = figures(window)
            console.print(view(shown, window_seconds))
            if silent := sum(not server.answers for server in shown.servers):
                raise click.ClickException(f"{silent} of {len(shown.servers)} servers did not answer")
            return
        with Live(view(figures(window), window_seconds), console=console, auto_refresh=False, screen=True) as live:
            try:
                while True:
                    started = time.monotonic()
                    window.add(_look(pool, targets, interval))
                    live.update(view(figures(window), window_seconds), refresh=True)
                    time.sleep(max(0.0, started + interval - time.monotonic()))
            except KeyboardInterrupt:
                return


def _look(pool: ThreadPoolExecutor, targets: Sequence[Target], timeout_seconds: float) -> list[Sample]:
    now = time.monotonic()
    unknown: list[Sample] = []
    addresses: list[str] = []
    for target in targets:
        try:
            addresses += target.addresses()
        except OSError as error:
            unknown.append(Sample(target.text, now, error=f"cannot be looked up: {error.strerror or error}"))
    found = list(dict.fromkeys(addresses))
    asked, left_out = found[:_MAX_SERVERS], len(found) - _MAX_SERVERS
    if left_out > 0:
        unknown.append(Sample(f"{left_out} more", now, error=f"not asked: expected at most {_MAX_SERVERS} servers"))
    # When each was read, not when all were asked: a slow one must not spoil the rates.
    return unknown + list(pool.map(lambda address: scrape(address, time.monotonic(), timeout_seconds), asked))
