"""The missing benchmark: ``python -m benchmarks.whole --items 10000 --items 1000000 --work DIR``. See docs."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.floor_process import measure_floor
from benchmarks.whole.figures import SystemFigures
from benchmarks.whole.generator import generator
from benchmarks.whole.measure import Plan, measure
from benchmarks.whole.people import Audience
from benchmarks.whole.plots import draw
from benchmarks.whole.stores import BuiltStore, ensure_built
from benchmarks.whole.systems import Composed, NotAnswered, Ours, System, Tutorial
from benchmarks.whole.table import HEADER, markdown, rows_of, verdicts, write_csv
from twostage.processes import ChildFailedError

SYSTEMS = ("twostage", "composed", "tutorial")


@click.command()
@click.option("--items", "item_counts", type=click.IntRange(min=1_000), multiple=True, default=(10_000, 1_000_000))
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Stores are made here once and kept.")
@click.option("--peers-python", type=click.Path(path_type=Path, exists=True), help="Of an environment with the peers.")
@click.option("--systems", type=click.Choice(SYSTEMS), multiple=True, help="All when not given.")
@click.option("--rounds", default=1, show_default=True, help="How often everything is measured.")
@click.option("--floor-requests", default=400, show_default=True, help="Calls of each part of the floor.")
@click.option(
    "--server-cores", default="", help="By commas; the generator gets the others. All share all if not given."
)
@click.option("--out", type=click.Path(path_type=Path), help="Table, CSV, JSON and pictures go there.")
@click.option("--quick", is_flag=True, help="A trial of a minute or two, whose figures mean little.")
def main(
    item_counts: tuple[int, ...],
    work: Path,
    peers_python: Path | None,
    systems: tuple[str, ...],
    rounds: int,
    floor_requests: int,
    server_cores: str,
    out: Path | None,
    quick: bool,
) -> None:
    """Measure the whole system, its peers and the floor by turns, over generated catalogues."""
    console = Console(width=max(Console().width, 200), highlight=False)
    wanted = systems or SYSTEMS
    if peers_python is None and set(wanted) - {"twostage"}:
        console.print("the peers are left out: --peers-python is not given")
        wanted = tuple(name for name in wanted if name == "twostage")
    plan = Plan.quick() if quick else Plan()
    cores = _split_cores(server_cores)
    measured: list[SystemFigures] = []
    for built in ensure_built(work, item_counts):
        for turn in range(rounds):
            started = time.monotonic()
            told = _measure_all(
                built, wanted, peers_python, plan, floor_requests // (8 if quick else 1), cores, console
            )
            measured += told
            taken = f"{built.item_count:,} items, round {turn + 1} of {rounds}: {time.monotonic() - started:.0f} s"
            console.print(f"{taken}; the stores took {built.build_seconds}")
    _show(measured, console)
    if out is not None:
        _write(measured, out, plan)
    failed = [f"{figures.name}: {figures.failure}" for figures in measured if figures.failure]
    if failed:
        raise click.ClickException("not everything could be measured; " + "; ".join(failed))


def _measure_all(
    built: BuiltStore,
    wanted: Collection[str],
    peers_python: Path | None,
    plan: Plan,
    floor_requests: int,
    cores: tuple[set[int], set[int]],
    console: Console,
) -> list[SystemFigures]:
    """All systems over one store, each between two measurements of the floor."""
    audience = Audience(built.store)
    told: list[SystemFigures] = []
    floor = _floor(built, floor_requests, console)
    for name in SYSTEMS:
        if name not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="whole-") as folder:
            system = _system(name, built, Path(folder), peers_python)
            figures = SystemFigures(system.name, built.item_count, floors=[floor])
            with console.status("") as status:

                def say(text: str, system: System = system) -> None:
                    status.update(f"{built.item_count:,} items, {system.name}: {text}")

                try:
                    _run(system, audience, plan, figures, cores, say)
                except (ChildFailedError, NotAnswered, TimeoutError) as error:
                    figures.failure = f"{type(error).__name__}: {error}"
        floor = _floor(built, floor_requests, console)
        figures.floors.append(floor)
        told.append(figures)
        outcome = figures.failure or f"knee {figures.knee:.0f} a second"
        console.print(f"{built.item_count:,} items, {system.name}: {outcome}")
    return told


def _run(
    system: System,
    audience: Audience,
    plan: Plan,
    figures: SystemFigures,
    cores: tuple[set[int], set[int]],
    say: Callable[[str], None],
) -> None:
    say("starting")
    usable = os.sched_getaffinity(0)
    started = time.monotonic()
    try:
        # What the servers start as inherits this process's cores.
        os.sched_setaffinity(0, cores[0])
        try:
            system.start()
        finally:
            os.sched_setaffinity(0, usable)
        figures.start_seconds = time.monotonic() - started
        asked = [person.asked for person in audience.asking]
        with generator(system.target, asked, cores[1]) as sender:
            measure(system, audience, sender, plan, figures, say)
    finally:
        system.stop()


def _system(name: str, built: BuiltStore, folder: Path, peers_python: Path | None) -> System:
    if name == "twostage":
        return Ours(built, folder)
    assert peers_python is not None
    return (Composed if name == "composed" else Tutorial)(built, folder, peers_python)


def _floor(built: BuiltStore, repeat_count: int, console: Console) -> dict[str, dict[str, float]]:
    with console.status(f"{built.item_count:,} items: the floor"):
        return measure_floor(built.store.path, repeat_count)


def _split_cores(text: str) -> tuple[set[int], set[int]]:
    cores = os.sched_getaffinity(0)
    if not text:
        return cores, cores
    chosen = {int(part) for part in text.split(",")}
    if not chosen < cores:
        raise click.BadParameter(f"--server-cores: expected some of {sorted(cores)} but not all, received {text}")
    return chosen, cores - chosen


def _show(measured: list[SystemFigures], console: Console) -> None:
    table = Table(*HEADER)
    for row in rows_of(measured):
        table.add_row(*row)
    console.print(table)
    for figures in measured:
        for line in verdicts(figures):
            console.print(line)


def _write(measured: list[SystemFigures], out: Path, plan: Plan) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = rows_of(measured)
    lines = [line for figures in measured for line in verdicts(figures)]
    text = markdown(HEADER, rows) + "\n" + "".join(f"- {line}\n" for line in lines)
    (out / "whole.md").write_text(text, encoding="utf-8")
    write_csv(out / "whole.csv", HEADER, rows)
    document = {
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "plan": plan.__dict__,
        "systems": [figures.as_json() for figures in measured],
    }
    (out / "whole.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draw(measured, out)


if __name__ == "__main__":
    main()
