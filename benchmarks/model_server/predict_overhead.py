"""What Predict costs beyond the graph: ``python -m benchmarks.model_server.predict_overhead``.

A real server process is asked over loopback, one call at a time, for 500 candidates of 128 floats, as
``tensor_content`` both ways; a bare process calls the same model with the same inputs, both on one TensorFlow thread.
They take turns in blocks, so that both see the same machine, and each figure is the lower quartile over the blocks. CPU
is read from Linux's /proc.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import grpc
import numpy as np

from benchmarks.model_server.bare_signature import FEATURE_COUNT, HIDDEN_SIZES, ITEM_COUNT
from benchmarks.retrieval.told_process import ToldProcess
from twostage.rpc.environment import prefer_grpc_polling
from twostage.tfserving.messages import PREDICT_METHOD
from twostage.tfserving.predict_wire import encode_request

OVERHEAD_MS = 0.35
TIMES_BARE = 1.3
_DEADLINE_SECONDS = 5.0


@click.command()
@click.option("--blocks", "block_count", default=40, show_default=True, help="Turns of each.")
@click.option("--calls", "call_count", default=60, show_default=True, help="Calls in a turn.")
@click.option("--flag", "flags", multiple=True, help="A further flag of the server.")
def main(block_count: int, call_count: int, flags: tuple[str, ...]) -> None:
    """Prints one line for each model and way to call it."""
    for kind in HIDDEN_SIZES:
        with (
            tempfile.TemporaryDirectory() as folder,
            # It exports the model that the server loads.
            ToldProcess("the bare process", "benchmarks.model_server.bare_signature", (folder, kind)) as bare,
            _server(Path(folder), flags) as (pid, call),
        ):
            _compare(kind, bare, pid, call, block_count, call_count)


def _compare(
    kind: str, bare: ToldProcess, pid: int, call: Callable[[], float], block_count: int, call_count: int
) -> None:
    ways: dict[str, list[float]] = {way: [] for way in bare.ready["ways"]}
    served: list[float] = []
    walls: list[float] = []
    for block in range(block_count + 1):
        for way, figures in ways.items():
            figures.append(bare.ask(way=way, count=call_count)["cpu_ms"])
        began = _cpu_ms(pid)
        block_walls = [call() for _ in range(call_count)]
        served.append((_cpu_ms(pid) - began) / call_count)
        walls.append(statistics.median(block_walls))
        if block == 0:  # the first block warms both up
            for figures in (*ways.values(), served, walls):
                figures.clear()
    print(f"{kind}: the server's CPU {_quartile(served):.3f} ms a Predict, {_quartile(walls):.3f} ms for the caller")
    for way, figures in ways.items():
        beyond_ms = [one - other for one, other in zip(served, figures, strict=True)]
        print(
            f"  bare {way}: {_quartile(figures):.3f} ms; the server {_quartile(served) - _quartile(figures):+.3f} ms "
            f"(by turns, median {statistics.median(beyond_ms):+.3f}; aim {OVERHEAD_MS}), "
            f"{_quartile(served) / _quartile(figures):.2f} times (aim {TIMES_BARE})"
        )


def _quartile(figures: list[float]) -> float:
    """The figure that a quarter of the turns stays below: other work on the machine adds, and never takes away."""
    return statistics.quantiles(figures, n=4)[0]


@contextmanager
def _server(base: Path, flags: tuple[str, ...]) -> Iterator[tuple[int, Callable[[], float]]]:
    fixed = ["--port=0", "--model_name=m", f"--model_base_path={base}", "--enable_serialization_as_tensor_content"]
    fixed += ["--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "model_server", *fixed, *flags], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"serving on (\S+:\d+)", line)
            if found:
                break
        else:
            raise click.ClickException(f"the server ended with {process.wait()}: {''.join(lines[-3:])}")
        with grpc.insecure_channel(found[1]) as channel:
            ask: Callable[..., bytes] = channel.unary_unary(PREDICT_METHOD)
            items = np.random.default_rng(0).standard_normal((ITEM_COUNT, FEATURE_COUNT), np.float32)
            request = encode_request("m", None, {"items": items})

            def call() -> float:
                began = time.perf_counter()
                ask(request, timeout=_DEADLINE_SECONDS)
                return (time.perf_counter() - began) * 1e3

            yield process.pid, call
    finally:
        process.terminate()
        process.wait()


def _cpu_ms(pid: int) -> float:
    """CPU time of the threads that a process has, to the nanosecond; /proc/PID/stat counts hundredths of seconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6


if __name__ == "__main__":
    prefer_grpc_polling()
    main()
