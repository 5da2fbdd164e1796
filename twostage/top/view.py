"""The figures as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Column, Table

from twostage.top.figures import Figures, Server, Timed

_BAR_WIDTH = 30


def view(shown: Figures, window_seconds: float) -> RenderableType:
    """Draws the figures.

    Args:
        shown: What is shown.
        window_seconds: What rates and percentiles are of.
    """
    parts: list[RenderableType] = [_servers(shown.servers)]
    if not shown.methods:
        parts.append(f"no request to the gateway within {window_seconds:g} s")
        return Group(*parts)
    parts.append(_timed(f"gateway, last {window_seconds:g} s", shown.methods))
    if sum(shown.rungs.values()) > 0:
        parts.append(_rungs(shown.rungs))
    if shown.stages:
        parts.append(_timed("stages of Recommend", shown.stages))
    bad = {code: rate for code, rate in shown.codes.items() if code != "OK"}
    if bad:
        parts.append("[red]" + ", ".join(f"{escape(code)} {rate:.3g}/s" for code, rate in bad.items()) + "[/red]")
    parts += [escape(note) for note in shown.notes]
    return Group(*parts)


def _servers(servers: Iterable[Server]) -> Table:
    table = Table("service", "metrics at", "state", "generations", *_right("CPU", "memory", "in flight"))
    for server in servers:
        good = server.state == "SERVING"
        state = escape(server.state) if good else f"[red]{escape(server.state)}[/red]"
        table.add_row(
            escape(server.service),
            escape(server.address),
            state,
            server.generations,
            "" if math.isnan(server.cpu_share) else f"{server.cpu_share:.0%}",
            "" if math.isnan(server.memory_bytes) else f"{server.memory_bytes / 2**20:.0f} MiB",
            f"{server.in_flight:.0f}" if server.answers else "",
        )
    return table


def _timed(title: str, rows: Iterable[Timed]) -> Table:
    table = Table(title, *_right("a second", "p50 ms", "p90 ms", "p99 ms"))
    for row in rows:
        table.add_row(escape(row.name), f"{row.rate:.1f}", *(_milliseconds(value) for value in row.quantiles_ms))
    return table


def _rungs(rungs: dict[str, float]) -> Table:
    whole = sum(rungs.values())
    table = Table("rung", *_right("a second", "share"), "")
    for rung, rate in rungs.items():
        if rate > 0 or rung == "FULL":
            share = rate / whole
            colour = "green" if rung == "FULL" else "yellow"
            bar = "█" * max(int(rate > 0), round(share * _BAR_WIDTH))
            table.add_row(rung, f"{rate:.1f}", f"{share:.1%}", f"[{colour}]{bar}[/{colour}]")
    return table


def _right(*titles: str) -> list[Column]:
    return [Column(title, justify="right") for title in titles]


def _milliseconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
