"""Publishing and rolling back under steady load: ``python -m benchmarks.swap --store DIR``."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.second_generation import publish_again
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.load.open_loop import run_load
from twostage.stack import Ports, Stack
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

AIM = 1.5
"""The p99 during a swap against the p99 before it."""

_COUNT = 20
_SETTLING_SECONDS = 3.0


@dataclass
class Answers:
    """What came back, by position in the load.

    Args:
        expected: The items each request is answered with, whatever generation answers.
        due: Moments.
        latencies: Seconds.
        generations: Which answered.
        wrong: What was not as it should be.
    """

    expected: list[list[str]]
    due: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, position: int, due: float, latency: float, answer: gateway_pb2.RecommendResponse) -> None:
        """Checks an answer and keeps its figures."""
        self.due.append(due)
        self.latencies.append(latency)
        self.generations.append(answer.generation)
        if answer.rung != gateway_pb2.RUNG_FULL:
            self.wrong.append(f"{gateway_pb2.Rung.Name(answer.rung)}: {answer.rung_reason}")
            return
        received = [item.item_id for item in answer.recommendations]
        if received != self.expected[position % len(self.expected)]:
            self.wrong.append(f"another list than alone, of generation {answer.generation}")


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rate", default=60.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=30.0, show_default=True, help="Before the swap, and after it until the rollback.")
def main(store_path: Path, rate: float, seconds: float) -> None:
    """Publish a second generation and roll back to the first, both under load, and look at every answer.

    The second generation is the first with another number, so that each answer can be compared with the one that was
    given before there was any load; the servers cannot know and do all that a swap takes.
    """
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        shutil.copytree(store_path, store.path)
        old = store.current()
        new = publish_again(store, old).generation
        stack = Stack(
            store,
            ports=Ports.free(),
            users=Path(folder) / "users.sqlite",
            on_line=lambda *_: None,
            say=console.print,
            restart=False,
        )
        try:
            stack.import_histories()
            stack.start(120)
            _measure(store, stack, console, rate=rate, seconds=seconds, numbers=(old, new))
        finally:
            stack.stop()


def _measure(
    store: Store, stack: Stack, console: Console, *, rate: float, seconds: float, numbers: tuple[int, int]
) -> None:
    old, new = numbers
    people = [person.user_id for person in known_people(store, limit=300, least_count=5)]
    requests = [gateway_pb2.RecommendRequest(user_id=user, count=_COUNT) for user in people]
    with grpc.insecure_channel(f"127.0.0.1:{stack.ports.gateway}") as channel, Progress(transient=True) as progress:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        answers = Answers(
            [[item.item_id for item in stub.Recommend(one, timeout=5).recommendations] for one in requests]
        )
        moves: dict[int, float] = {}

        def move(number: int) -> None:
            moves[number] = time.perf_counter()
            store.set_current(number)

        timers = [threading.Timer(seconds, move, [new]), threading.Timer(2 * seconds, move, [old])]
        for timer in timers:
            timer.start()
        task = progress.add_task("asking", total=round(rate * 2.5 * seconds))
        result = run_load(
            channel,
            requests,
            rate=rate,
            seconds=2.5 * seconds,
            timeout_seconds=2.0,
            on_progress=lambda sent: progress.update(task, completed=sent),
            on_answer=answers.take,
        )
        for timer in timers:
            timer.join()
    _print(console, answers, result.errors, moves, numbers)


def _print(
    console: Console, answers: Answers, errors: dict[str, int], moves: dict[int, float], numbers: tuple[int, int]
) -> None:
    old, new = numbers
    order = np.argsort(answers.due)
    due, latencies = np.array(answers.due)[order], np.array(answers.latencies)[order] * 1e3
    generations = np.array(answers.generations)[order]
    published, rolled_back = moves[new], moves[old]
    of_new = due[(generations == new) & (due > published)]
    back = due[(generations == old) & (due > rolled_back)]
    if not len(of_new) or not len(back):
        raise click.ClickException(
            f"the swap did not come through: {len(of_new)} answers of {new}, {len(back)} of {old}"
        )
    first_new, last_new = float(of_new[0]), float(back[0])
    spans = {
        "before": (due[0] + _SETTLING_SECONDS, published),
        "publishing, until the new one answers and 5 s on": (published, first_new + 5),
        "after": (first_new + 5, rolled_back),
        "rolling back, and 5 s on": (rolled_back, last_new + 5),
    }
    table = Table("span", "answers", "p50 ms", "p99 ms", "max ms", "p99, times before")
    before = None
    for name, (start, stop) in spans.items():
        some = latencies[(due >= start) & (due < stop)]
        p50, p99 = np.percentile(some, [50, 99])
        before = p99 if before is None else before
        table.add_row(name, str(len(some)), f"{p50:.2f}", f"{p99:.2f}", f"{some.max():.2f}", f"{p99 / before:.2f}")
    console.print(table)
    console.print(
        f"aim: <= {AIM:g} times; {first_new - published:.2f} s from CURRENT to the first answer of the new one, "
        f"{last_new - rolled_back:.2f} s from the rollback to the first of the old one; "
        f"{len(latencies)} answers, errors {errors or 'none'}, wrong answers {len(answers.wrong)}"
    )
    for line in sorted(set(answers.wrong))[:5]:
        console.print(line)
    if errors or answers.wrong:
        raise click.ClickException(f"{sum(errors.values())} errors and {len(answers.wrong)} wrong answers")


if __name__ == "__main__":
    main()
