"""``twostage experiments``: what the impression log says about experiments."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
from rich.table import Table

from training.experiments.intervals import TARGET_COUNT, Method
from twostage.experiments.assignment import Assignment
from twostage.experiments.errors import ExperimentsInvalid
from twostage.experiments.file import read_experiments
from twostage.experiments.tables import show_experiments
from twostage.impressions.errors import LogError
from twostage.impressions.log import open_log
from twostage.terminal import make_console

_LOG = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_METHODS = get_args(Method)


@click.group()
def experiments() -> None:
    """Check a file of experiments; report what they have shown."""


@experiments.command("check")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--log", "log_path", type=_LOG, required=True, help="The impression log's folder.")
def check(path: Path, log_path: Path) -> None:
    """Check FILE, show who gets what, and compare the log's arms with the weights."""
    assignment = _read(path)
    console = make_console()
    show_experiments(assignment, console)
    from training.experiments.arms import people_in_several_arms, unit_counts  # noqa: PLC0415 - SciPy takes a second
    from training.experiments.sample import read_sample  # noqa: PLC0415
    from training.experiments.sample_ratio import MISMATCH_P, sample_ratio  # noqa: PLC0415

    try:
        sample = read_sample(open_log(log_path))
    except LogError as error:
        raise click.ClickException(str(error)) from error
    table = Table("experiment", "unit", "seen", "expected", "p", "in several arms", "", box=None)
    mismatched = []
    for experiment in assignment.experiments:
        name = experiment.name
        if name not in sample.arms or experiment.kind == "interleave" or len(experiment.arms) < 2:
            continue
        weights = {arm.name: arm.weight for arm in experiment.arms}
        ratio = sample_ratio(unit_counts(sample, name, experiment.unit), weights)
        if ratio.mismatch:
            mismatched.append(name)
        table.add_row(
            name,
            "people" if experiment.unit == "user_id" else "requests",
            ", ".join(f"{arm} {count:,}" for arm, count in ratio.counts.items()),
            ", ".join(f"{arm} {count:,.1f}" for arm, count in ratio.expected.items()),
            f"{ratio.p_value:.3g}",
            f"{people_in_several_arms(sample, name):,}" if experiment.unit == "user_id" else "",
            "MISMATCH" if ratio.mismatch else "as it should be",
        )
    console.print(table if table.row_count else "the log has no arms of these experiments to compare")
    if sample.unnamed_count:
        console.print(f"{sample.unnamed_count} answers of {len(sample.people)} have no person and count as one each")
    if mismatched:
        raise click.ClickException(
            f"sample ratio mismatch (p < {MISMATCH_P}) in {', '.join(mismatched)}: arms lose people, do not trust rates"
        )


@experiments.command("report")
@click.option("--log", "log_path", type=_LOG, required=True, help="The impression log's folder.")
@click.option("--experiment", "names", multiple=True, help="Which; may be given again.  [default: all]")
@click.option("--action", "actions", multiple=True, help="Which; may be given again.  [default: all]")
@click.option("--file", "path", type=_FILE, help="The file of experiments, for what the controls are.")
@click.option(
    "--interval",
    "methods",
    type=click.Choice([*_METHODS, "both"]),
    default=_METHODS[0],
    show_default=True,
    help="Sequential ones may be looked at at any time, fixed-horizon ones once.",
)
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True)
@click.option(
    "--target-answers",
    type=click.IntRange(min=1),
    default=TARGET_COUNT,
    show_default=True,
    help="Around so many answers a sequential interval is tightest; fix it before the start.",
)
@click.option("--clip", type=click.FloatRange(min=1), help="Bounds the weights of off-policy estimates.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False), help="Also a forest plot (PNG).")
def report(
    log_path: Path,
    names: tuple[str, ...],
    actions: tuple[str, ...],
    path: Path | None,
    methods: str,
    confidence: float,
    target_answers: int,
    clip: float | None,
    plot_path: Path | None,
) -> None:
    """Rates per arm and what exploration says, with intervals."""
    from training.experiments.forest_plot import forest_plot  # noqa: PLC0415 - NumPy and pyarrow take a while
    from training.experiments.report import ReportPlan, sections, tables  # noqa: PLC0415
    from training.experiments.sample import read_sample  # noqa: PLC0415

    controls = {}
    if path is not None:
        controls = {each.name: each.arms[0].name for each in _read(path).experiments if each.kind == "ab"}
    plan = ReportPlan(
        experiments=names,
        actions=actions,
        methods=_METHODS if methods == "both" else tuple(each for each in _METHODS if each == methods),
        confidence=confidence,
        target_count=target_answers,
        controls=controls,
        clip=clip,
    )
    console = make_console()
    try:
        sample = read_sample(open_log(log_path))
        computed = sections(sample, plan)
        for each in tables(sample, computed, plan):
            console.print(each, soft_wrap=isinstance(each, str), markup=False)
        done = sample.action_names()
        if not done:
            console.print("nothing was done with anything that was shown")
        for action in actions:
            if done and action not in done:
                console.print(f"nobody did {action!r} with what was shown, only {', '.join(done)}", markup=False)
        if plot_path is not None:
            forest_plot(computed, plan, plot_path)
            console.print(f"plotted to {plot_path}")
    except (LogError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"--plot: expected a file that can be written: {error.strerror}") from error


def _read(path: Path) -> Assignment:
    try:
        return read_experiments(path)
    except ExperimentsInvalid as error:
        raise click.ClickException("\n".join(f"{path.name}: {line}" for line in error.complaints)) from error
