"""``twostage replay``: logged answers made once more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from twostage.bundle.errors import BundleError
from twostage.bundle.open_store import open_store
from twostage.impressions.errors import LogError
from twostage.impressions.log import open_log
from twostage.options import store_option
from twostage.terminal import make_console

if TYPE_CHECKING:
    from training.replay.replay import Replayed, Tally

_SHOWN = 20


@click.command()
@store_option
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="The folder of a log (docs/impressions.md), or one file of it.",
)
@click.option("--request-id", help="The one answer of this name.")
@click.option("--sample", type=click.IntRange(min=1), help="So many answers, at random.  [default: all]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the choice.")
@click.option(
    "--epsilon",
    type=click.FloatRange(min=0),
    default=1e-5,
    show_default=True,
    help="By how much a score may differ; items whose scores differ by no more may change places.",
)
def replay(
    store_path: Path | str, log_path: Path, request_id: str | None, sample: int | None, seed: int, epsilon: float
) -> None:
    """Make logged answers once more from the store, with the engines that serve, and compare item by item.

    Ends with 1 when an answer differs, or when none could be made.
    """
    if request_id is not None and sample is not None:
        raise click.UsageError("--sample: expected no sample beside --request-id")
    # These take seconds to import.
    from training.replay.replay import Replay, Tally, chosen  # noqa: PLC0415
    from training.replay.verdict import Verdict  # noqa: PLC0415

    console = make_console()
    tally = Tally()
    told: list[Replayed] = []
    try:
        log = open_log(log_path)
        replayer = Replay(open_store(store_path), log, epsilon=epsilon)
        total = 1 if request_id is not None else min(sample or log.impression_count(), log.impression_count())
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("replaying", total=total)
            for replayed in replayer.run(chosen(log, request_id=request_id, sample=sample, seed=seed)):
                tally.add(replayed)
                progress.advance(task)
                if (replayed.judgement.verdict is not Verdict.SAME and len(told) < _SHOWN) or request_id is not None:
                    told.append(replayed)
    except (LogError, BundleError) as error:
        raise click.ClickException(str(error)) from error
    count = sum(tally.counts.values())
    if not count:
        what = "the log has no answer" if request_id is None else f"--request-id: no answer {request_id} in the log"
        raise click.ClickException(what)
    console.print(_summary(tally))
    if told:
        console.print(_details(told))
    reproduced = tally.count(Verdict.SAME, Verdict.NEARLY)
    different = tally.count(Verdict.DIFFERENT)
    click.echo(
        f"{reproduced:,} of {count:,} answers reproduced, {different:,} different, "
        f"{tally.count(Verdict.NOT_REPLAYED):,} not replayed; scores differ by {tally.largest_difference:.2g} at most"
    )
    if different or not reproduced:
        raise SystemExit(1)


def _summary(tally: Tally) -> Table:
    from training.replay.verdict import Verdict  # noqa: PLC0415 - as above

    table = Table(title="replayed answers")
    table.add_column("rung")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right")
    for rung in sorted({rung for rung, _ in tally.counts}):
        table.add_row(rung, *(f"{tally.count(verdict, rung=rung):,}" for verdict in Verdict))
    return table


def _details(told: Sequence[Replayed]) -> Table:
    table = Table(title="answer by answer" if len(told) < _SHOWN else f"the first {_SHOWN} that are not the same")
    for name in ("request", "generation", "rung", "verdict", "what"):
        table.add_column(name, overflow="fold")
    for replayed in told:
        impression, judgement = replayed.impression, replayed.judgement
        table.add_row(
            impression.request_id,
            str(impression.generation),
            impression.rung,
            judgement.verdict.value,
            "\n".join(judgement.reasons),
        )
    return table
