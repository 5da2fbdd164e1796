"""Three times what saturates a stack, with admission and without: ``python -m benchmarks.overload``.

Servers and generators run on cores of their own, so that a generator that has more to do at three times the load takes
nothing from the servers; on a machine of two cores that leaves the servers one. `--server-cores` says which.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.process_usage import cpu_seconds, resident_megabytes
from tests.bundles import make_store
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.load.processes import Generators, generators
from twostage.load.result import REFUSED, LoadResult
from twostage.load.saturation import find_saturation
from twostage.processes import ServiceProcess
from twostage.stack import Ports, Stack
from twostage.v1 import gateway_pb2

GOODPUT_AIM = 0.9
"""The goodput under overload against the peak."""
_COUNT = 20
_WARM_UP_SECONDS = 3.0
_SAMPLE_SECONDS = 1.0
_SWITCH = "TWOSTAGE_GATEWAY_ADMISSION"


@dataclass
class Usage:
    """What the servers used while a load ran.

    Args:
        megabytes: Resident memory by server, sampled once a second.
        cpu_seconds: Processor time by server.
    """

    megabytes: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def growth_megabytes(self, name: str) -> float:
        """Last third against middle third: what still grows once everything has been used."""
        samples = self.megabytes[name]
        third = max(1, len(samples) // 3)
        return float(np.median(samples[-third:]) - np.median(samples[third : 2 * third] or samples[:1]))


@dataclass
class Overload:
    """One overload: what came of the requests and what it cost."""

    result: LoadResult
    usage: Usage
    server_seconds: float


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), help="A store; a tiny one if not.")
@click.option("--items", "item_count", default=5_000, show_default=True, help="Items of the tiny store.")
@click.option("--times", default=3.0, show_default=True, help="How many times the saturating rate is offered.")
@click.option("--seconds", default=20.0, show_default=True, help="How long each overload lasts.")
@click.option("--step-seconds", default=3.0, show_default=True, help="How long each rate of the search lasts.")
@click.option("--first-rate", default=60.0, show_default=True, help="Where the search begins, requests a second.")
@click.option("--timeout-ms", default=500.0, show_default=True, help="Each request's deadline.")
@click.option("--generators", "generator_count", default=1, show_default=True, help="Processes that send requests.")
@click.option("--server-cores", help="By commas.  [default: all but the last]")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the tables as Markdown.")
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw goodput and memory over time (PNG).")
def main(
    store_path: Path | None,
    item_count: int,
    times: float,
    seconds: float,
    step_seconds: float,
    first_rate: float,
    timeout_ms: float,
    generator_count: int,
    server_cores: str | None,
    out: Path | None,
    plot: Path | None,
) -> None:
    """Find what saturates a stack, offer a multiple of it with admission and without, and compare."""
    console = Console(width=160)
    servers, senders = _split_cores(server_cores)
    timeout = timeout_ms / 1000
    with tempfile.TemporaryDirectory() as folder:
        store = (
            Store(store_path)
            if store_path
            else make_store(Path(folder) / "store", item_count=item_count, user_count=200, with_models=True)
        )
        with _serving(store, Path(folder), servers, senders, generator_count, admission=True) as (stack, made):
            made.run(rate=first_rate / 2, seconds=_WARM_UP_SECONDS, timeout_seconds=timeout)
            found = find_saturation(
                lambda rate: _goodput(made.run(rate=rate, seconds=step_seconds, timeout_seconds=timeout)),
                first_rate=first_rate,
            )
            if not found.rate:
                raise click.ClickException("the stack keeps up with nothing; is the machine busy with something else?")
            rate = times * found.rate
            # As long as the overload, for a peak of three seconds is not one that lasts.
            peak = made.run(rate=found.rate, seconds=seconds, timeout_seconds=timeout)
            runs = {"with admission": _overload(stack, store, made, rate=rate, seconds=seconds, timeout=timeout)}
            after = made.run(rate=found.rate * 0.8, seconds=3.0, timeout_seconds=timeout)
        with _serving(store, Path(folder), servers, senders, generator_count, admission=False) as (stack, made):
            made.run(rate=first_rate / 2, seconds=_WARM_UP_SECONDS, timeout_seconds=timeout)
            runs["without"] = _overload(stack, store, made, rate=rate, seconds=seconds, timeout=timeout)
    peak_goodput = _goodput(peak)
    tables = [
        _search_table(found.steps),
        _runs_table(
            {
                f"at {found.rate:.0f} a second": peak,
                **{name: run.result for name, run in runs.items()},
                "with, 0.8 times, at once after it": after,
            },
            peak_goodput,
        ),
        _usage_table(runs),
    ]
    for table in tables:
        console.print(table)
    told = (
        f"servers on cores {sorted(servers)}, generators on {sorted(senders)}; deadline {timeout_ms:g} ms; "
        f"peak {peak_goodput:.1f} a second, offered {rate:.1f} a second"
    )
    console.print(told)
    if out is not None:
        out.write_text("\n\n".join([told, *(_markdown(table) for table in tables)]) + "\n", encoding="utf-8")
    if plot is not None:
        _draw(plot, runs, peak_goodput)
    share = _goodput(runs["with admission"].result) / peak_goodput
    console.print(f"whole answers in time with admission: {share:.1%} of the peak; aim: at least {GOODPUT_AIM:.0%}")


def _goodput(result: LoadResult) -> float:
    """Whole answers in time a second: low rungs are cheap, and would make an overload look like a feat."""
    return result.goodput("RUNG_FULL")


def _split_cores(text: str | None) -> tuple[set[int], set[int]]:
    """The servers' cores and the generators'; the same where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    chosen = {int(part) for part in text.split(",")} if text else set(cores[:-1] or cores)
    if not chosen <= set(cores):
        raise click.BadParameter(f"--server-cores: expected some of {cores}, received {text}")
    return chosen, set(cores) - chosen or set(cores)


@contextmanager
def _serving(
    store: Store, folder: Path, servers: set[int], senders: set[int], generator_count: int, *, admission: bool
) -> Iterator[tuple[Stack, Generators]]:
    os.environ[_SWITCH] = "true" if admission else "false"
    usable = os.sched_getaffinity(0)
    with ExitStack() as exits:
        exits.callback(os.environ.pop, _SWITCH, None)
        stack = Stack(
            store,
            ports=Ports.free(),
            users=folder / f"users-{admission}.sqlite",
            on_line=lambda *_: None,
            say=print,
            restart=False,
        )
        exits.callback(stack.stop)
        stack.import_histories()
        # What the servers start as inherits this process's cores.
        os.sched_setaffinity(0, servers)
        try:
            stack.start(120)
        finally:
            os.sched_setaffinity(0, usable)
        people = [person.user_id for person in known_people(store, limit=300, least_count=3)]
        requests = [gateway_pb2.RecommendRequest(user_id=user, count=_COUNT) for user in people]
        address = f"127.0.0.1:{stack.ports.gateway}"
        made = exits.enter_context(generators(address, requests, process_count=generator_count, cores=senders))
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
        yield stack, made


def _overload(stack: Stack, store: Store, made: Generators, *, rate: float, seconds: float, timeout: float) -> Overload:
    usage = Usage()
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stack.children, store.path, usage, over))
    before = {child.name: cpu_seconds(child.pid) for child in stack.children}
    started = time.monotonic()
    watcher.start()
    try:
        result = made.run(rate=rate, seconds=seconds, timeout_seconds=timeout)
    finally:
        over.set()
        watcher.join()
    usage.cpu_seconds = {child.name: cpu_seconds(child.pid) - before[child.name] for child in stack.children}
    return Overload(result, usage, time.monotonic() - started)


def _watch(children: tuple[ServiceProcess, ...], store: Path, usage: Usage, over: threading.Event) -> None:
    while True:
        for child in children:
            usage.megabytes.setdefault(child.name, []).append(resident_megabytes(child.pid, store))
        if over.wait(_SAMPLE_SECONDS):
            return


def _search_table(steps: tuple[tuple[float, float], ...]) -> Table:
    table = Table("offered a second", "answered in full and in time", "share")
    for rate, goodput in steps:
        table.add_row(f"{rate:.1f}", f"{goodput:.1f}", f"{goodput / rate:.0%}")
    return table


def _runs_table(runs: dict[str, LoadResult], peak: float) -> Table:
    names = ("offered", "sent", "in time", "in full", "of the peak", "by rung", "refused", "failed")
    figures = ("accepted p50", "p99", "refusal p50", "p99 ms", "generator late", "CPU")
    table = Table("run", *names, *figures)
    for name, result in runs.items():
        answered = [latency for latencies in result.latencies.values() for latency in latencies]
        refused = result.error_latencies.get(REFUSED, [])
        errors = {code: count for code, count in result.errors.items() if code != REFUSED}
        table.add_row(
            name,
            f"{result.rate:.1f}/s",
            f"{result.sent_per_second:.1f}/s",
            f"{result.goodput():.1f}/s",
            f"{_goodput(result):.1f}/s",
            f"{_goodput(result) / peak:.0%}",
            ", ".join(f"{rung.removeprefix('RUNG_')} {result.in_time(rung)}" for rung in sorted(result.latencies)),
            str(len(refused)),
            ", ".join(f"{code} {count}" for code, count in sorted(errors.items())) or "0",
            *_shares(answered),
            *_shares(refused),
            f"{result.latest_start_seconds * 1e3:.0f} ms",
            f"{result.generator_cpu_seconds / result.seconds:.0%}",
        )
    return table


def _shares(latencies: list[float]) -> tuple[str, str]:
    if not latencies:
        return "", ""
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return f"{p50:.1f}", f"{p99:.1f}"


def _usage_table(runs: dict[str, Overload]) -> Table:
    table = Table("server", *(f"{name}: {what}" for name in runs for what in ("MB first", "last", "growth", "core")))
    for server in next(iter(runs.values())).usage.megabytes:
        row = [server]
        for run in runs.values():
            samples = run.usage.megabytes[server]
            busy = run.usage.cpu_seconds[server] / run.server_seconds
            growth = run.usage.growth_megabytes(server)
            row += [f"{samples[0]:.1f}", f"{samples[-1]:.1f}", f"{growth:+.1f}", f"{busy:.0%}"]
        table.add_row(*row)
    return table


def _markdown(table: Table) -> str:
    columns = [list(column.cells) for column in table.columns]
    lines = [[str(column.header) for column in table.columns], ["---"] * len(columns)]
    lines += [[str(cell) for cell in row] for row in zip(*columns, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _draw(path: Path, runs: dict[str, Overload], peak: float) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only who wants a picture needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(9, 7))
    for name, run in runs.items():
        result = run.result
        due = [
            outcome.due_seconds
            for outcome in result.outcomes or ()
            if outcome.answered and outcome.latency_seconds <= result.timeout_seconds
        ]
        bins = np.arange(0, max(result.due_count / result.rate, 2.0), 1.0)
        counts, _ = np.histogram(due, bins)
        axes[0].plot(bins[:-1], counts, label=name)
        gateway = run.usage.megabytes["gateway"]
        axes[1].plot(np.arange(len(gateway)) * _SAMPLE_SECONDS, gateway, label=f"gateway, {name}")
    axes[0].axhline(peak, linestyle=":", color="black", label="peak")
    axes[0].set_ylabel("answered in time, a second")
    axes[1].set_ylabel("resident MB")
    axes[1].set_xlabel("seconds of overload")
    for axis in axes:
        axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
