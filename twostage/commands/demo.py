"""``twostage demo``: data, training, four servers and some recommendations, then everything stops."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import grpc
from rich.console import Console
from rich.markup import escape

from twostage.bundle.generation import Generation
from twostage.bundle.histories import UserHistory, known_people
from twostage.bundle.store import Store
from twostage.commands.answer_table import print_answer
from twostage.processes import ChildFailedError
from twostage.stack import Ports, Stack
from twostage.terminal import make_console
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

DOWNLOAD_SECONDS = 10
"""A download that takes longer is given up."""


@click.command()
@click.option(
    "--data",
    "data_path",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A data set.  [default: goodbooks-10k if it can be downloaded, else a synthetic one]",
)
@click.option("--store", "store_path", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option("--people", "people_count", type=click.IntRange(1, 20), default=3, show_default=True)
def demo(data_path: Path | None, store_path: Path, profile: str, people_count: int) -> None:
    """Train, serve and recommend once, end to end; then stop all servers."""
    console = make_console()
    started = time.monotonic()
    data_path = data_path or _find_data(console, store_path)
    console.rule(f"1. training on {data_path.name}, profile {profile}")
    _training("train", "--data", str(data_path), "--store", str(store_path), "--profile", profile)
    console.rule("2. model server, retrieval, ranking and gateway")
    store = Store(store_path)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(
            store,
            ports=Ports.free(),
            users=Path(folder) / "users.sqlite",
            on_line=lambda *_: None,  # what matters of it is in the error when a server cannot start
            say=console.print,
        )
        try:
            stack.import_histories()
            for name, seconds in stack.start().items():
                console.print(f"{name} serves after {seconds:.1f} s")
            console.rule("3. recommendations")
            _recommend(console, store, stack.ports.gateway, people_count)
        except ChildFailedError as error:
            raise click.ClickException(str(error)) from error
        finally:
            stack.stop()
    console.rule()
    console.print(f"The servers are stopped; it took {time.monotonic() - started:.0f} s. The store is {store_path}.")
    console.print(f"To serve it: .venv/bin/twostage up --store {store_path}")


def _find_data(console: Console, store_path: Path) -> Path:
    """Goodbooks if it can be had in time, else a synthetic catalogue; says which."""
    goodbooks = store_path / "data" / "goodbooks-10k"
    command = [sys.executable, "-m", "training", "data", "fetch", "goodbooks", "--out", str(goodbooks)]
    try:
        done = subprocess.run(command, timeout=DOWNLOAD_SECONDS, capture_output=True, text=True, check=False)
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"not there after {DOWNLOAD_SECONDS} seconds"
    if not reason:
        console.print("data: goodbooks-10k, downloaded")
        return goodbooks
    synthetic = store_path / "data" / "synthetic"
    console.print(f"data: synthetic, because goodbooks-10k could not be downloaded ({escape(reason)})", soft_wrap=True)
    if not (synthetic / "dataset.yaml").is_file():
        _training("data", "synthesize", "--out", str(synthetic), "--items", "3000", "--users", "4000", "--seed", "1")
    return synthetic


def _training(*arguments: str) -> None:
    code = subprocess.run([sys.executable, "-m", "training", *arguments], check=False).returncode
    if code:
        raise click.ClickException(f"`twostage {arguments[0]}` failed, exit code {code}")


def _recommend(console: Console, store: Store, port: int, people_count: int) -> None:
    generation = store.open()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        people = known_people(store, limit=people_count, least_count=8)
        # The first answers pay for connections and caches; a person who looks at milliseconds should see the usual.
        for person in people:
            stub.Recommend(gateway_pb2.RecommendRequest(user_id=person.user_id), timeout=10)
        for person in people:
            console.print(f"\n[bold]Known person {escape(person.user_id)}[/bold], who recently liked or marked:")
            _print_taste(console, generation, person)
            print_answer(
                console, stub.Recommend(gateway_pb2.RecommendRequest(user_id=person.user_id, count=10), timeout=10)
            )
        first = _taste(generation, people[0])[-3:] if people else []
        if first:
            console.print(
                "\n[bold]Somebody new[/bold], who named three items: " + escape("; ".join(_titles(generation, first)))
            )
            request = gateway_pb2.RecommendRequest(recent_item_ids=first, count=5)
            print_answer(console, stub.Recommend(request, timeout=10))
        console.print("\n[bold]Somebody of whom nothing is known[/bold]")
        print_answer(console, stub.Recommend(gateway_pb2.RecommendRequest(count=5), timeout=10))


def _taste(generation: Generation, person: UserHistory) -> list[str]:
    actions = generation.manifest.action_schema
    entries = zip(person.item_ids, person.actions, person.values, strict=True)
    return [item_id for item_id, action, value in entries if actions.is_taste(action, value)]


def _titles(generation: Generation, item_ids: list[str]) -> list[str]:
    return generation.titles.take(generation.ids.rows(item_ids))


def _print_taste(console: Console, generation: Generation, person: UserHistory) -> None:
    for title in _titles(generation, _taste(generation, person)[-6:]):
        console.print(f"  · {escape(title)}", soft_wrap=True)
