"""``twostage load``: an open-loop load against a gateway, percentiles by rung."""

from __future__ import annotations

from pathlib import Path

import click
import grpc
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from twostage.bundle.histories import UserHistory, known_people
from twostage.bundle.open_store import open_store
from twostage.open_loop import LoadResult, run_load
from twostage.options import read_location
from twostage.terminal import make_console
from twostage.v1 import gateway_pb2

_PERCENTILES = (50, 90, 99, 99.9)


@click.command()
@click.option("--address", default="127.0.0.1:50050", show_default=True, help="The gateway.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), required=True, help="Requests a second.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), required=True, help="For how long.")
@click.option("--count", type=click.IntRange(1, 200), default=20, show_default=True, help="Recommendations a request.")
@click.option("--timeout-ms", type=click.FloatRange(min=1), default=1000.0, show_default=True, help="Each deadline.")
@click.option("--user", "users", multiple=True, help="A user to ask for; may be repeated.")
@click.option(
    "--store",
    "store_path",
    metavar="FOLDER|URL",
    callback=read_location,
    help="Ask for up to 1,000 people whose histories this store carries.",
)
def load(
    address: str,
    rate: float,
    seconds: float,
    count: int,
    timeout_ms: float,
    users: tuple[str, ...],
    store_path: Path | str | None,
) -> None:
    """Send RATE requests a second for SECONDS, whether or not earlier ones came back.

    Latency counts from the moment a request was due. Without --user and --store nobody in particular is asked for,
    which is the cold-start answer. Exits with 1 when any request failed.
    """
    console = make_console()
    people = [*users, *(person.user_id for person in _people(store_path))] or [""]
    requests = [gateway_pb2.RecommendRequest(user_id=user, count=count) for user in people]
    with grpc.insecure_channel(address) as channel, Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{rate:g} requests a second", total=max(1, round(rate * seconds)))
        result = run_load(
            channel,
            requests,
            rate=rate,
            seconds=seconds,
            timeout_seconds=timeout_ms / 1000,
            on_progress=lambda sent: progress.update(task, completed=sent),
        )
    _print(console, result, rate)
    if result.errors:
        raise click.ClickException(f"{sum(result.errors.values())} of {result.due_count} requests failed")


def _people(store_path: Path | str | None) -> list[UserHistory]:
    return known_people(open_store(store_path), limit=1000) if store_path else []


def _print(console: Console, result: LoadResult, rate: float) -> None:
    table = Table("outcome", "requests", *(f"p{share:g} ms" for share in _PERCENTILES), "max ms")
    for rung, latencies in sorted(result.latencies.items()):
        shown = (f"{value * 1e3:.2f}" for value in result.percentiles(rung, _PERCENTILES))
        table.add_row(rung, str(len(latencies)), *shown, f"{max(latencies) * 1e3:.2f}")
    for code, failed_count in sorted(result.errors.items()):
        table.add_row(f"[red]{code}[/red]", str(failed_count))
    console.print(table)
    answered = sum(map(len, result.latencies.values()))
    console.print(
        f"offered {rate:g} a second, answered {answered / result.seconds:.1f} a second; "
        f"the generator was at most {result.latest_start_seconds * 1e3:.1f} ms late"
    )
