"""What a ranking costs beside the model: ``python -m benchmarks.ranking.rank_cost --store DIR``.

A real ranking service before a real embedded model server over a real store, asked by one client for 500 candidates at
a time. CPU is that of each process, to the nanosecond, from Linux's /proc. In turns with it are measured: the ranker's
graph alone on one thread, and two servers of nothing but gRPC in Python, one that answers at once and one that first
sends as many bytes on as a Predict takes; below those no Python service of two hops can come.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.retrieval.told_process import ToldProcess
from ranking_service.engine.engine import Ranker
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.features.context import Context
from twostage.features.history import History
from twostage.processes import ChildFailedError, ServiceProcess

_AIM_MS = 0.6
_AIM_TIMES = 1.3
_START_SECONDS = 120.0
_LABELS = {
    "ranking": "ranking process, 500 candidates to 20 items",
    "model_server": "model server's process",
    "graph": "the graph alone, one thread",
    "explaining": "ranking process with explanations",
    "explaining_model_server": "model server's process with explanations",
    "empty": "a Python server that answers at once",
    "through": "one that sends a Predict's bytes on and waits",
}


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--candidates", default=500, show_default=True)
@click.option("--count", "item_count", default=20, show_default=True, help="Items asked for.")
@click.option("--rounds", default=25, show_default=True)
@click.option("--requests", default=100, show_default=True, help="In each round.")
@click.option("--tcp", is_flag=True, help="Ask the model server over TCP instead of a Unix socket.")
@click.option("--out", type=click.Path(path_type=Path), help="Write JSON to this folder.")
def main(
    store_path: Path, candidates: int, item_count: int, rounds: int, requests: int, tcp: bool, out: Path | None
) -> None:
    """Measures the ranking of a store's current generation by its default ranker."""
    console = Console(width=max(100, Console().width))
    with ExitStack() as stack:
        spent = _measure(stack, store_path, candidates, item_count, rounds, requests, tcp=tcp)
    columns = ("CPU ms, median", "least", "wall ms, median", "least")
    table = Table(f"{candidates} candidates, {item_count} items, {rounds} rounds", *columns)
    medians = {name: statistics.median(figures) for name, figures in spent.items() if figures}
    for name, label in _LABELS.items():
        shown = [name, f"{name}_wall"] if f"{name}_wall" in medians else [name]
        table.add_row(label, *(f"{figure:.3f}" for one in shown for figure in (medians[one], min(spent[one]))))
    console.print(table)
    times = statistics.median(a / b for a, b in zip(spent["model_server"], spent["graph"], strict=True))
    for reached, text in (
        (medians["ranking"] <= _AIM_MS, f"{medians['ranking']:.3f} ms in the ranking process, aim {_AIM_MS:g}"),
        (times <= _AIM_TIMES, f"model server {times:.2f} times the graph, aim {_AIM_TIMES:g}"),
    ):
        console.print(f"{'reached' if reached else 'missed'}: {text}")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        document = {"candidates": candidates, "count": item_count, "by_round": spent, "times_graph": times}
        (out / "rank_cost.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _measure(
    stack: ExitStack, store_path: Path, candidates: int, item_count: int, rounds: int, requests: int, *, tcp: bool
) -> dict[str, list[float]]:
    store = Store(store_path)
    generation = store.open()
    entry = generation.manifest.ranker
    models = store.path / "models" / entry.model
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    model_server, address = stack.enter_context(_model_server(entry.model, models, None if tcp else folder / "socket"))
    ranking = stack.enter_context(
        _serving(
            "ranking_service",
            *("--store", str(store_path), "--model-server", address, "--port", "0", "--metrics-port", "0"),
        )
    )
    backend = stack.enter_context(
        ToldProcess("backend", "benchmarks.ranking.hop_server", [f"--answer-bytes={candidates * 12}"])
    )
    hops = [
        f"--backend={backend.ready['address']}",
        f"--send-bytes={_sent_bytes(generation, candidates)}",
        "--answer-bytes=2000",
    ]
    hop = stack.enter_context(ToldProcess("hop", "benchmarks.ranking.hop_server", hops))
    sizes = ["--store", str(store_path), "--candidates", str(candidates)]
    bare = stack.enter_context(ToldProcess("graph", "benchmarks.ranking.bare_ranker", sizes))
    arguments = [*sizes, "--count", str(item_count), "--address", str(ranking.announcement["address"])]
    caller = stack.enter_context(ToldProcess("caller", "benchmarks.ranking.rank_caller", arguments))
    names = [*_LABELS, "ranking_wall", "explaining_wall", "empty_wall", "through_wall", "graph_wall"]
    spent: dict[str, list[float]] = {name: [] for name in names}
    orders: dict[str, tuple[int, dict[str, Any]]] = {
        "ranking": (ranking.pid, {}),
        "explaining": (ranking.pid, {"explain": True}),
        "empty": (hop.pid, {"address": hop.ready["address"], "method": "/hop/Empty"}),
        "through": (hop.pid, {"address": hop.ready["address"], "method": "/hop/Through"}),
    }
    for turn in track(range(rounds + 1), "rounds", transient=True):
        for name, (pid, order) in orders.items():
            before = _cpu_ms(pid), _cpu_ms(model_server.pid)
            taken = caller.ask(requests=requests, **order)["milliseconds"]
            after = _cpu_ms(pid), _cpu_ms(model_server.pid)
            figures = {name: (after[0] - before[0]) / requests, f"{name}_wall": statistics.median(taken)}
            if name in {"ranking", "explaining"}:
                beside = "model_server" if name == "ranking" else "explaining_model_server"
                figures[beside] = (after[1] - before[1]) / requests
            # The first round warms everything up.
            for figure, value in figures.items() if turn else ():
                spent[figure].append(value)
        graph = bare.ask(requests=requests)
        if turn:
            spent["graph"].append(graph["cpu_ms"])
            spent["graph_wall"].append(graph["wall_ms"])
    return spent


@contextmanager
def _model_server(name: str, models: Path, socket: Path | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address."""
    flags = ["--port=0", f"--model_name={name}", f"--model_base_path={models}"]
    flags += ["--enable_serialization_as_tensor_content", "--tensorflow_intra_op_parallelism=1"]
    flags += ["--tensorflow_inter_op_parallelism=1", *([f"--grpc_socket_path={socket}"] if socket else [])]
    process = subprocess.Popen([sys.executable, "-m", "model_server", *flags], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = next((match for line in process.stderr if (match := re.search(r"serving on (\S+)", line))), None)
        if found is None:
            raise click.ClickException(f"the model server ended with {process.wait()}")
        yield process, found[1]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _serving(module: str, *flags: str) -> Iterator[ServiceProcess]:
    service = ServiceProcess.python(module, *flags, name=module, on_line=lambda *_: None)
    service.start()
    try:
        service.wait_serving(_START_SECONDS)
        yield service
    except ChildFailedError as error:
        raise click.ClickException(str(error)) from None
    finally:
        service.terminate()
        service.wait_stopped()


def _sent_bytes(generation: Generation, candidates: int) -> int:
    """Bytes of the arrays that a Predict carries."""
    rows = np.asarray(generation.popular_rows[:candidates], np.uint32)
    ranker = Ranker.open(generation, generation.manifest.default_ranker)
    inputs = ranker.gather(History.of_rows(rows[:10]), Context(), rows, np.zeros(len(rows), np.float32))
    return sum(array.nbytes for array in inputs.values())


def _cpu_ms(pid: int) -> float:
    """CPU time of the threads that a process has; /proc/PID/stat counts hundredths of seconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text(encoding="ascii").split()[0]) for thread in threads) / 1e6


if __name__ == "__main__":
    main()
