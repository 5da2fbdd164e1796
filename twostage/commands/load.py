"""``twostage load``: an open-loop load against a gateway, percentiles by rung, and how much it can answer."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from twostage.bundle.histories import UserHistory, known_people
from twostage.bundle.open_store import open_store
from twostage.gateway_access import GatewayAccess
from twostage.gateway_options import gateway_options
from twostage.load_processes import Generators, generators
from twostage.open_loop import REFUSED, LoadResult, run_load
from twostage.options import read_location
from twostage.saturation import KEPT_UP_SHARE, find_saturation
from twostage.terminal import make_console
from twostage.v1 import gateway_pb2

_PERCENTILES = (50, 90, 99, 99.9)
_STEP_SECONDS = 4.0
# Above this the generator, not the gateway, may be what was measured.
_LATE_SECONDS = 0.05


class _FiniteRange(click.FloatRange):
    """A range without NaN and infinity, which click lets through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


@click.command()
@click.option("--address", default="127.0.0.1:50050", show_default=True, help="The gateway.")
@click.option("--rate", type=_FiniteRange(min=0, min_open=True), help="Requests a second.")
@click.option(
    "--find-saturation",
    is_flag=True,
    help=f"Look for the highest rate of which {KEPT_UP_SHARE:.0%} are answered in time, beginning with --rate or 20.",
)
@click.option(
    "--seconds",
    type=_FiniteRange(min=0, min_open=True),
    help=f"For how long; for each rate that is tried with --find-saturation, {_STEP_SECONDS:g} if not given.",
)
@click.option("--count", type=click.IntRange(1, 200), default=20, show_default=True, help="Recommendations a request.")
@click.option("--timeout-ms", type=_FiniteRange(min=1), default=1000.0, show_default=True, help="Each deadline.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="That send requests.")
@click.option("--user", "users", multiple=True, help="A user to ask for; may be repeated.")
@click.option(
    "--store",
    "store_path",
    metavar="FOLDER|URL",
    callback=read_location,
    help="Ask for up to 1,000 people whose histories this store carries.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write every request as CSV: due_seconds, latency_ms, outcome, answered.",
)
@gateway_options
def load(
    address: str,
    rate: float | None,
    find_saturation: bool,
    seconds: float | None,
    count: int,
    timeout_ms: float,
    processes: int,
    users: tuple[str, ...],
    store_path: Path | str | None,
    out: Path | None,
    access: GatewayAccess,
) -> None:
    """Send RATE requests a second for SECONDS, whether or not earlier ones came back.

    Latency counts from the moment a request was due. Without --user and --store nobody in particular is asked for,
    which is the cold-start answer. Requests that the gateway refused for want of room are shown apart. Exits with 1
    when any request failed or was refused; with --find-saturation, where that is what is looked for, only when not
    even the lowest rate was kept up with.
    """
    console = make_console()
    people = [*users, *(person.user_id for person in _people(store_path))] or [""]
    requests = [gateway_pb2.RecommendRequest(user_id=user, count=count) for user in people]
    if find_saturation:
        if out is not None:
            raise click.UsageError("--out goes with one rate, not with --find-saturation")
        with generators(address, requests, access=access, process_count=processes) as made:
            _search(console, made, rate or 20.0, seconds or _STEP_SECONDS, timeout_ms / 1000)
        return
    if rate is None or seconds is None:
        raise click.UsageError("--rate and --seconds are needed without --find-saturation")
    if processes > 1:
        with generators(address, requests, access=access, process_count=processes) as made:
            result = made.run(rate=rate, seconds=seconds, timeout_seconds=timeout_ms / 1000)
    else:
        result = _send(console, access, address, requests, rate=rate, seconds=seconds, timeout_ms=timeout_ms)
    if out is not None:
        _write(out, result)
    _print(console, result)
    if result.errors:
        raise click.ClickException(f"{sum(result.errors.values())} of {result.due_count} requests failed")


def _people(store_path: Path | str | None) -> list[UserHistory]:
    return known_people(open_store(store_path), limit=1000) if store_path else []


def _send(
    console: Console,
    access: GatewayAccess,
    address: str,
    requests: Sequence[gateway_pb2.RecommendRequest],
    *,
    rate: float,
    seconds: float,
    timeout_ms: float,
) -> LoadResult:
    with access.channel(address) as channel, Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{rate:g} requests a second", total=max(1, round(rate * seconds)))
        return run_load(
            channel,
            requests,
            rate=rate,
            seconds=seconds,
            timeout_seconds=timeout_ms / 1000,
            on_progress=lambda sent: progress.update(task, completed=sent),
        )


def _search(console: Console, made: Generators, first_rate: float, seconds: float, timeout_seconds: float) -> None:
    table = Table("offered a second", "in time", "on RUNG_FULL", "refused", "failed", "p99 ms", "sent a second")

    def measure(rate: float) -> float:
        result = made.run(rate=rate, seconds=seconds, timeout_seconds=timeout_seconds)
        answered = [latency for latencies in result.latencies.values() for latency in latencies]
        errors = result.errors
        refused_count = errors.pop(REFUSED, 0)
        table.add_row(
            f"{rate:.1f}",
            f"{result.goodput():.1f}",
            f"{result.goodput('RUNG_FULL'):.1f}",
            str(refused_count),
            str(sum(errors.values())),
            f"{np.percentile(answered, 99) * 1e3:.1f}" if answered else "",
            f"{result.sent_per_second:.1f}",
        )
        return result.goodput()

    try:
        found = find_saturation(measure, first_rate=first_rate)
    except grpc.FutureTimeoutError as error:
        raise click.ClickException("the gateway cannot be reached") from error
    console.print(table)
    if not found.rate:
        raise click.ClickException(f"not even {found.steps[-1][0]:.2f} requests a second were answered in time")
    console.print(
        f"kept up with {found.rate:.1f} requests a second; "
        f"at most {found.peak_goodput:.1f} a second were answered in time"
    )


def _write(path: Path, result: LoadResult) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["due_seconds", "latency_ms", "outcome", "answered"])
        for outcome in sorted(result.outcomes):
            writer.writerow(
                [
                    f"{outcome.due_seconds:.6f}",
                    f"{outcome.latency_seconds * 1e3:.3f}",
                    outcome.name,
                    int(outcome.answered),
                ]
            )


def _print(console: Console, result: LoadResult) -> None:
    table = Table("outcome", "requests", "in time", *(f"p{share:g} ms" for share in _PERCENTILES), "max ms")
    for rung, latencies in sorted(result.latencies.items()):
        table.add_row(rung, str(len(latencies)), str(result.in_time(rung)), *_milliseconds(latencies))
    for code, latencies in sorted(result.error_latencies.items()):
        shown = "refused" if code == REFUSED else code
        table.add_row(f"[red]{shown}[/red]", str(len(latencies)), "", *_milliseconds(latencies))
    console.print(table)
    console.print(
        f"offered {result.rate:g} a second, sent {result.sent_per_second:.1f} a second, "
        f"answered in time {result.goodput():.1f} a second; "
        f"the generator was at most {result.latest_start_seconds * 1e3:.1f} ms late "
        f"and used {result.generator_cpu_seconds / max(result.seconds, 1e-9):.0%} of a core"
    )
    if result.latest_start_seconds > _LATE_SECONDS:
        console.print("[yellow]the generator fell behind: use more --processes, or another machine[/yellow]")


def _milliseconds(latencies: Sequence[float]) -> list[str]:
    percentiles = np.percentile(np.array(latencies), _PERCENTILES)
    return [f"{value * 1e3:.2f}" for value in (*percentiles, max(latencies))]
