"""Rolling updates and scale-downs under steady load: ``python -m benchmarks.rolling --store DIR --rate N``."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from tests.integration.cluster.load import Load, load, now
from tests.integration.cluster.namespaces import why_not
from tests.integration.cluster.pods import PORTS, Cluster, cluster, until
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.terminal import make_console

_REPLICA_COUNT = 2
_SETTLING_SECONDS = 3.0
# The name server's answers are so old at most, and the gateways look names up every 3 s: a pod that goes serves on for
# longer than both together.
_RECORD_SECONDS = 5
_DRAIN_SECONDS = 10
_CONNECTION_AGE_SECONDS = 30
# After each change, so that what it leaves behind is seen as its own.
_AFTER_SECONDS = 5.0


class _Span(NamedTuple):
    name: str
    start: float
    end: float


@click.command()
@click.option("--store", "store_path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rate", default=40.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=15.0, show_default=True, help="Of the span before any change.")
@click.option("--deadline-seconds", default=2.0, show_default=True, help="Of each request.")
def main(store_path: Path, rate: float, seconds: float, deadline_seconds: float) -> None:
    """Replace every pod of each service, one after the other, then take one of two away, and look at every answer.

    The pods are processes in network namespaces behind a name server (root and iproute2 are needed), the caller is the
    Python client in a namespace of its own, by ``dns:///gateway:50050``. A pod that goes is taken out of its record and
    asked to end in the same moment. Requests leave on schedule, and latencies count from when they were due.
    """
    reason = why_not()
    if reason is not None:
        raise click.ClickException(reason)
    store = Store(store_path)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), store, candidate_count=500) as pods:
        pods.names.kept_seconds = _RECORD_SECONDS
        for service in PORTS:
            pods.settings[service]["readiness_seconds"] = _DRAIN_SECONDS
        pods.settings["gateway"]["max_connection_age_seconds"] = _CONNECTION_AGE_SECONDS
        pods.join([pod for service in PORTS for pod in pods.start(service, _REPLICA_COUNT)])
        histories = Path(folder) / "histories.json"
        people = known_people(store, limit=300, least_count=5)
        histories.write_text(json.dumps([person.item_ids[-20:] for person in people]), encoding="utf-8")
        with load(pods, rate, histories=histories, deadline_seconds=deadline_seconds) as running:
            spans = _change(pods, running, seconds)
    _print(make_console(), running, spans)


def _change(pods: Cluster, running: Load, seconds: float) -> list[_Span]:
    # A name that was looked up before any pod was ready may be kept as unknown for a while.
    until(lambda: running.full(now() - _SETTLING_SECONDS))
    spans: list[_Span] = []

    def during(name: str, work: Callable[[], object], after_seconds: float = _AFTER_SECONDS) -> None:
        start = now()
        work()
        time.sleep(after_seconds)
        spans.append(_Span(name, start, now()))

    during("before", lambda: None, seconds)
    for service in PORTS:
        during(f"{service}: rolling update", partial(pods.roll, service))
    for service in PORTS:
        during(f"{service}: 2 to 1", partial(pods.remove, pods.pods[service][0]))
        during(f"{service}: 1 to 2", partial(pods.scale_up, service))
    return spans


def _print(console: Console, running: Load, spans: list[_Span]) -> None:
    table = Table(
        "span", "seconds", "requests", "failed", "below FULL", "p50 ms", "p99 ms", "max ms", "p99, times before"
    )
    before = None
    for name, start, end in spans:
        some = [each for each in running.since(start) if each["due"] < end]
        latencies = np.array([each["came"] - each["due"] for each in some]) * 1e3
        p50, p99 = np.percentile(latencies, [50, 99])
        before = p99 if before is None else before
        failed = [each for each in some if not each["items"]]
        lower = [each for each in some if each["items"] and each["name"] != "RUNG_FULL"]
        table.add_row(
            name,
            f"{end - start:.0f}",
            str(len(some)),
            str(len(failed)),
            str(len(lower)),
            f"{p50:.2f}",
            f"{p99:.2f}",
            f"{latencies.max():.2f}",
            f"{p99 / before:.2f}",
        )
    console.print(table)
    began = spans[0].start
    failures, lower_rungs = running.failed(began), running.below_full(began)
    console.print(
        f"aim: no failed request; {len(running.since(began))} requests, {failures.total()} failed, "
        f"{lower_rungs.total()} answered below FULL"
    )
    for text, count in [*failures.most_common(5), *lower_rungs.most_common(5)]:
        console.print(f"{count} times {text}")
    if failures:
        raise click.ClickException(f"{failures.total()} requests failed")


if __name__ == "__main__":
    main()
