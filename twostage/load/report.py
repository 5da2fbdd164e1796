"""A load's report: one HTML file with its charts inside, which asks nothing of the network."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path

from twostage.load.plots import load_plots, sweep_plots
from twostage.load.result import FULL, REFUSED, LoadResult
from twostage.load.sweep import Sweep
from twostage.load.tables import LOAD_HEADINGS, SWEEP_HEADINGS, load_rows, sweep_rows
from twostage.load.thresholds import Check

_PACKAGES = ("twostage", "grpcio", "protobuf")
_STYLE = """
:root { color-scheme: light dark; --soft: #8883; --good: #1a7f4b; --bad: #c0392b; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 980px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p.note, p.when { opacity: .75; margin-top: .2rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.2rem 0; }
.tiles div { border: 1px solid var(--soft); border-radius: 8px; padding: .5rem .8rem; min-width: 5.6rem; }
.tiles b { display: block; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.tiles span { font-size: .85rem; opacity: .75; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--soft); }
th:first-child, td:first-child, table.facts td { text-align: left; }
table.facts td:first-child { opacity: .75; white-space: nowrap; width: 12rem; }
.met { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; }
svg { width: 100%; height: auto; display: block; font-size: 12px; }
svg text { fill: currentColor; opacity: .85; } svg .grid { stroke: currentColor; opacity: .12; }
svg .axis { stroke: currentColor; opacity: .6; } svg .mark { stroke: currentColor; stroke-dasharray: 3 3; opacity: .7; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .2rem 0 0 3.9rem; font-size: .85rem; }
.legend i { display: inline-block; width: .9rem; height: .55rem; margin-right: .35rem; border-radius: 2px; }
"""


@dataclass(frozen=True)
class Report:
    """What is told of a load.

    Args:
        settings: What was asked for, by name; no secrets.
        started_at: When it began, Unix seconds.
        result: The load at one rate, or None.
        sweep: The loads at several rates, or None.
        checks: What the requirements came to.
    """

    settings: Mapping[str, str]
    started_at: float
    result: LoadResult | None = None
    sweep: Sweep | None = None
    checks: Sequence[Check] = field(default=())

    def write(self, path: Path) -> None:
        """Writes the file; one that is there is replaced when the new one is whole."""
        aside = path.with_name(f".{path.name}.writing")
        aside.write_text(self.html(), encoding="utf-8")
        aside.replace(path)

    def html(self) -> str:
        """The page."""
        when = datetime.fromtimestamp(self.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return "\n".join(
            [
                '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>Twostage load, {when}</title><style>{_STYLE}</style></head><body>",
                f'<h1>Load on {escape(self.settings.get("address", "a gateway"))}</h1><p class="when">{when}</p>',
                *self._tiles(),
                *self._requirements(),
                *self._load(),
                *self._sweep(),
                "<h2>Settings</h2>",
                _facts(self.settings),
                "<h2>Generator</h2>",
                _facts({**_machine(), **self._generator()}),
                "</body></html>\n",
            ]
        )

    def _tiles(self) -> Iterator[str]:
        figures: dict[str, str] = {}
        if self.result is not None:
            result = self.result
            failed = sum(result.errors.values()) - result.errors.get(REFUSED, 0)
            answers = result.tally(answered=True).histogram
            figures = {
                "offered": f"{result.rate:.6g}/s",
                "in time": f"{result.goodput():.4g}/s",
                f"on {FULL}": f"{result.goodput(FULL):.4g}/s",
                "p50 of answers": _milliseconds(answers.percentile(50)),
                "p99 of answers": _milliseconds(answers.percentile(99)),
                "refused": str(result.errors.get(REFUSED, 0)),
                "failed": str(failed),
            }
        if self.sweep is not None:
            knee = self.sweep.knee
            figures = {
                "knee of the p99": "none" if knee is None else f"{knee:.4g}/s",
                "kept up with": f"{self.sweep.kept_up:.4g}/s",
                "most in time": f"{self.sweep.peak:.4g}/s",
            }
        tiles = (f"<div><b>{escape(text)}</b><span>{escape(name)}</span></div>" for name, text in figures.items())
        yield f'<div class="tiles">{"".join(tiles)}</div>'

    def _requirements(self) -> Iterator[str]:
        if not self.checks:
            return
        yield "<h2>Requirements</h2><table><tr><th>requirement</th><th>measured</th><th></th></tr>"
        for check in self.checks:
            verdict = '<td class="met">met</td>' if check.met else '<td class="missed">not met</td>'
            yield f"<tr><td>{escape(check.requirement.text)}</td><td>{escape(check.words)}</td>{verdict}</tr>"
        yield "</table>"

    def _load(self) -> Iterator[str]:
        if self.result is None:
            return
        yield "<h2>Outcomes</h2>"
        yield _table(LOAD_HEADINGS, load_rows(self.result))
        yield '<p class="note">Latency counts from the moment a request was due, to three digits.</p>'
        for title, note, chart in load_plots(self.result):
            yield f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{chart.svg()}'

    def _sweep(self) -> Iterator[str]:
        if self.sweep is None:
            return
        for title, note, chart in sweep_plots(self.sweep):
            yield f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{chart.svg()}'
        yield "<h2>Rates</h2>"
        yield _table(SWEEP_HEADINGS, sweep_rows(self.sweep))

    def _generator(self) -> dict[str, str]:
        results = [self.result] if self.result is not None else list(self.sweep.results if self.sweep else ())
        if not results:
            return {}
        latest = max(result.latest_start_seconds for result in results)
        busiest = max(result.generator_cpu_seconds / max(result.seconds, 1e-9) for result in results)
        return {
            "latest start": f"{latest * 1e3:.1f} ms after it was due",
            "processor": f"at most {busiest:.0%} of a core",
        }


def _milliseconds(seconds: float) -> str:
    return "none" if math.isnan(seconds) else f"{seconds * 1e3:.4g} ms"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in facts.items())
    return f'<table class="facts">{rows}</table>'


def _machine() -> dict[str, str]:
    return {
        "versions": ", ".join(
            [*(f"{name} {version(name)}" for name in _PACKAGES), f"Python {platform.python_version()}"]
        ),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")
