"""``twostage load``: an open-loop load against a gateway, percentiles by rung, and how much it can answer."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click
import grpc
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from twostage.bundle.histories import known_people
from twostage.bundle.open_store import open_store
from twostage.errors import InvalidField
from twostage.finite_numbers import FiniteRange
from twostage.gateway_access import GatewayAccess
from twostage.gateway_options import gateway_options
from twostage.load.histogram_log import LogLine, write_histogram_log
from twostage.load.material import PEOPLE_COUNT, store_material
from twostage.load.mix import Drawer, MixInvalid, read_mix
from twostage.load.report import Report
from twostage.load.requests import LoadRequest, load_requests
from twostage.load.result import LoadResult
from twostage.load.saturation import KEPT_UP_SHARE
from twostage.load.session import LoadSession
from twostage.load.sweep import Sweep, read_rates
from twostage.load.tables import LOAD_HEADINGS, SWEEP_HEADINGS, load_rows, sweep_rows
from twostage.load.thresholds import Check, Requirement, read_requirement
from twostage.options import read_location
from twostage.terminal import make_console
from twostage.v1 import gateway_pb2

_STEP_SECONDS = 4.0
_FIRST_RATE = 20.0
# Above this the generator, not the gateway, may be what was measured.
_LATE_SECONDS = 0.05
# As many as a mix needs for its shares to show, and few enough to be sent to every process.
_DRAWN_COUNT = 5_000
# An hour; far longer ones overflow in gRPC, and every request then ends at once.
_MAX_TIMEOUT_MS = 3_600_000


def _read_requirements(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[Requirement, ...]:
    try:
        return tuple(read_requirement(value) for value in values)
    except InvalidField as error:
        raise click.BadParameter(str(error)) from error


def _read_sweep(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else read_rates(value)
    except InvalidField as error:
        raise click.BadParameter(str(error)) from error


def _read_file(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """A file to write; what is measured for minutes is not lost because there is no such folder."""
    if value is not None and not (value.parent.is_dir() and os.access(value.parent, os.W_OK)):
        raise click.BadParameter(f"expected a file in a folder that can be written to, received {str(value)!r}")
    return value


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.option("--address", default="127.0.0.1:50050", show_default=True, help="The gateway.")
@click.option("--rate", type=FiniteRange(min=0, min_open=True), help="Requests a second.")
@click.option(
    "--find-saturation",
    is_flag=True,
    help=f"Look for the highest rate of which {KEPT_UP_SHARE:.0%} are answered in time, beginning with --rate or 20.",
)
@click.option(
    "--sweep",
    "rates",
    metavar="FROM:TO:STEP",
    callback=_read_sweep,
    help="Try the rates from FROM to TO and tell where the p99 begins to climb; STEP is a number, or x2 for a factor.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    help=f"For how long; for each rate with --sweep and --find-saturation, {_STEP_SECONDS:g} if not given.",
)
@click.option(
    "--count", type=click.IntRange(1, 200), help="Recommendations a request, where no --mix says.  [default: 20]"
)
@click.option(
    "--timeout-ms", type=FiniteRange(1, _MAX_TIMEOUT_MS), default=1000.0, show_default=True, help="Each deadline."
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="That send requests.")
@click.option("--user", "users", multiple=True, help="A user to ask for; may be repeated.")
@click.option(
    "--store",
    "store_path",
    metavar="FOLDER|URL",
    callback=read_location,
    help="Ask for up to 1,000 people whose histories this store carries; with --mix, draw from it.",
)
@click.option(
    "--mix",
    "mix_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A YAML file that says which kinds of requests are sent in which shares.",
)
@click.option(
    "--require",
    "requirements",
    metavar="METRIC<VALUE",
    multiple=True,
    callback=_read_requirements,
    help="Exit with 1 unless it holds, e.g. 'p99<100ms', 'full>=99%', 'errors<0.1%', 'goodput>=50'; may be repeated.",
)
@click.option(
    "--report", "report_file", type=_FILE, callback=_read_file, help="Also write a report with charts, one HTML file."
)
@click.option(
    "--out",
    type=_FILE,
    callback=_read_file,
    help="Also write every request as CSV: due_seconds, latency_ms, outcome, answered, kind, missing_count.",
)
@click.option(
    "--hlog", "hlog_file", type=_FILE, callback=_read_file, help="Also write the latencies as an HdrHistogram log."
)
@gateway_options
def load(
    address: str,
    rate: float | None,
    find_saturation: bool,
    rates: tuple[float, ...] | None,
    seconds: float | None,
    count: int | None,
    timeout_ms: float,
    processes: int,
    users: tuple[str, ...],
    store_path: Path | str | None,
    mix_file: Path | None,
    requirements: tuple[Requirement, ...],
    report_file: Path | None,
    out: Path | None,
    hlog_file: Path | None,
    access: GatewayAccess,
) -> None:
    """Send RATE requests a second for SECONDS, whether or not earlier ones came back.

    Latency counts from the moment a request was due. Without --user, --store and --mix nobody in particular is asked
    for, which is the cold-start answer. Requests that the gateway refused for want of room are shown apart.

    Exits with 1 when a requirement was not met, each of them named with what was measured. Without any, when a request
    failed or was refused; with --sweep and --find-saturation, where that is what is looked for, only when not even the
    lowest rate was kept up with.
    """
    console = make_console()
    many = find_saturation or rates is not None
    _check_together(many, find_saturation, rate, rates, seconds, out, hlog_file, requirements)
    if mix_file is not None and (users or count is not None):
        raise click.UsageError("--user and --count go into the file of --mix")
    requests = _requests(mix_file, store_path, users, count or 20)
    _check_kinds(requirements, requests)
    session = LoadSession(address, access, requests, timeout_ms / 1000, processes)
    settings = {
        "address": address,
        "rates": "searched for" if find_saturation else ", ".join(f"{each:g}/s" for each in rates or (rate or 0.0,)),
        "seconds": f"{seconds or _STEP_SECONDS:g} for each rate",
        "requests": f"the mix {mix_file}" if mix_file else f"Recommend, {count or 20} items",
        "deadline": f"{timeout_ms:g} ms",
        "generator processes": str(processes),
    }
    started_at = time.time()
    result, sweep, bounded = None, None, True
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("load", total=None)

            def show(tried: float) -> None:
                progress.update(task, description=f"{tried:g} requests a second")

            if rates is not None:
                sweep = session.sweep(rates, seconds or _STEP_SECONDS, show)
            elif find_saturation:
                found, sweep = session.search(rate or _FIRST_RATE, seconds or _STEP_SECONDS, show)
                bounded = found.bounded
            elif rate is not None and seconds is not None:
                show(rate)
                progress.update(task, total=max(1, round(rate * seconds)))
                result = session.one(
                    rate,
                    seconds,
                    keep_outcomes=out is not None,
                    on_progress=lambda sent: progress.update(task, completed=sent),
                )
    except grpc.FutureTimeoutError as error:
        raise click.ClickException("the gateway cannot be reached") from error
    except BrokenProcessPool as error:
        raise click.ClickException("a generator process was killed, so nothing is known of its requests") from error
    checks = []
    if result is not None:
        _print_load(console, result)
        checks = [requirement.check_load(result) for requirement in requirements]
    if sweep is not None:
        _print_sweep(console, sweep, bounded=bounded, with_knee=rates is not None)
        checks = [requirement.check_sweep(sweep) for requirement in requirements]
    _write(Report(settings, started_at, result, sweep, checks), report_file, out, hlog_file)
    _end(console, checks, result, sweep)


def _check_together(
    many: bool,
    find_saturation: bool,
    rate: float | None,
    rates: tuple[float, ...] | None,
    seconds: float | None,
    out: Path | None,
    hlog_file: Path | None,
    requirements: Sequence[Requirement],
) -> None:
    if rates is not None and (find_saturation or rate is not None):
        raise click.UsageError("--sweep goes without --rate and --find-saturation")
    for name, given in (("--out", out), ("--hlog", hlog_file)):
        if many and given is not None:
            raise click.UsageError(f"{name} goes with one rate, not with --find-saturation or --sweep")
    if not many and (rate is None or seconds is None):
        raise click.UsageError("--rate and --seconds are needed without --find-saturation and --sweep")
    for requirement in requirements:
        if requirement.of_search is not many:
            fitting = "--sweep or --find-saturation" if requirement.of_search else "one rate"
            raise click.UsageError(f"--require {requirement.text!r} goes with {fitting}")
        if requirement.metric == "knee" and rates is None:
            raise click.UsageError(f"--require {requirement.text!r} goes with --sweep")


def _check_kinds(requirements: Sequence[Requirement], requests: Sequence[LoadRequest]) -> None:
    """A requirement on what is not sent would fail after minutes of load."""
    kinds = {request.kind for request in requests}
    for requirement in requirements:
        if requirement.kind is not None and requirement.kind not in kinds:
            known = ", ".join(sorted(kinds))
            raise click.UsageError(f"--require {requirement.text!r}: expected a kind that is sent: {known}")


def _requests(
    mix_file: Path | None, store_path: Path | str | None, users: tuple[str, ...], count: int
) -> list[LoadRequest]:
    if mix_file is not None:
        try:
            mix = read_mix(mix_file)
            return Drawer(mix, store_material(open_store(store_path)) if store_path else None).draw(_DRAWN_COUNT)
        except MixInvalid as error:
            raise click.ClickException(str(error)) from error
    stored = known_people(open_store(store_path), limit=PEOPLE_COUNT) if store_path else []
    people = [*users, *(person.user_id for person in stored)] or [""]
    return load_requests([gateway_pb2.RecommendRequest(user_id=user, count=count) for user in people])


def _print_load(console: Console, result: LoadResult) -> None:
    table = Table(*LOAD_HEADINGS)
    for row in load_rows(result):
        table.add_row(*row)
    console.print(table)
    console.print(
        f"offered {result.rate:g} a second, sent {result.sent_per_second:.1f} a second, "
        f"answered in time {result.goodput():.1f} a second; "
        f"the generator was at most {result.latest_start_seconds * 1e3:.1f} ms late "
        f"and used {result.generator_cpu_seconds / max(result.seconds, 1e-9):.0%} of a core"
    )
    _print_late(console, result.latest_start_seconds)


def _print_sweep(console: Console, sweep: Sweep, *, bounded: bool, with_knee: bool) -> None:
    table = Table(*SWEEP_HEADINGS)
    for row in sweep_rows(sweep):
        table.add_row(*row)
    console.print(table)
    if with_knee:
        knee = sweep.knee
        console.print(
            "no knee: the p99 does not climb over these rates, or climbs from the first one on"
            if knee is None
            else f"knee at {knee:.1f} requests a second: from there on the p99 climbs"
        )
    if sweep.kept_up:
        console.print(
            f"kept up with {sweep.kept_up:.1f} requests a second; "
            f"at most {sweep.peak:.1f} a second were answered in time" + ("" if bounded else "; no rate was too much")
        )
    _print_late(console, max(result.latest_start_seconds for result in sweep.results))


def _print_late(console: Console, seconds: float) -> None:
    if seconds > _LATE_SECONDS:
        console.print("[yellow]the generator fell behind: use more --processes, or another machine[/yellow]")


def _end(console: Console, checks: Sequence[Check], result: LoadResult | None, sweep: Sweep | None) -> None:
    """Ends the command with 1 where something was not met, or went wrong and nothing is required."""
    for check in checks:
        met = "[green]met[/green]" if check.met else "[red]not met[/red]"
        console.print(f"{escape(check.requirement.text)}: {check.words}, {met}")
    missed = [f"{check.requirement.text} ({check.words})" for check in checks if not check.met]
    if missed:
        raise click.ClickException(f"{len(missed)} of {len(checks)} requirements not met: {'; '.join(missed)}")
    if checks:
        return
    if result is not None and result.errors:
        raise click.ClickException(f"{sum(result.errors.values())} of {result.due_count} requests failed")
    if sweep is not None and not sweep.kept_up:
        raise click.ClickException(f"not even {sweep.rates[0]:.2f} requests a second were answered in time")


def _write(report: Report, report_file: Path | None, out: Path | None, hlog_file: Path | None) -> None:
    """Writes what is wanted.

    Raises:
        click.ClickException: A file cannot be written, for the disk is full or the like.
    """
    result = report.result
    wanted: list[tuple[Path | None, Callable[[Path], None]]] = [(report_file, report.write)]
    if result is not None:
        wanted.append((out, lambda path: _write_outcomes(path, result)))
        wanted.append((hlog_file, lambda path: _write_log(path, result, report.started_at)))
    for path, write in wanted:
        if path is not None:
            try:
                write(path)
            except OSError as error:
                raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error


def _write_outcomes(path: Path, result: LoadResult) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["due_seconds", "latency_ms", "outcome", "answered", "kind", "missing_count"])
        for outcome in sorted(result.outcomes or ()):
            writer.writerow(
                [
                    f"{outcome.due_seconds:.6f}",
                    f"{outcome.latency_seconds * 1e3:.3f}",
                    outcome.name,
                    int(outcome.answered),
                    outcome.kind,
                    outcome.missing_count,
                ]
            )


def _write_log(path: Path, result: LoadResult, started_at: float) -> None:
    lines = (
        LogLine(
            f"{slot.kind}.{slot.name}",
            slot.interval * result.interval_seconds,
            result.interval_seconds,
            tally.histogram,
        )
        for slot, tally in result.timeline()
    )
    note = f"twostage load: {result.rate:g} requests a second, latency from the moment each was due"
    write_histogram_log(path, lines, started_at=started_at, note=note)
