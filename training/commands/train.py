"""``twostage train``: from a data set to a published generation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.commands.options import (
    data_option,
    log_key_option,
    log_option,
    profile_option,
    ranker_loss_option,
    ranker_negatives_option,
    rankers_option,
    reliability_option,
    seed_option,
)
from training.data.errors import DataError
from training.data.read import read_with_log
from training.errors import TrainingError
from training.ranker.names import DEFAULT_RANKERS, ITEM_TABLES, ranker_names
from twostage.bundle.errors import BundleError
from twostage.options import store_option
from twostage.terminal import make_console

if TYPE_CHECKING:
    from training.evaluation.offline import OfflineEvaluation


@click.command()
@data_option
@log_option
@log_key_option
@store_option
@profile_option
@seed_option
@rankers_option
@ranker_loss_option
@ranker_negatives_option
@click.option("--evaluation/--no-evaluation", default=True, show_default=True, help="Measure before publishing.")
@click.option("--shards", type=click.IntRange(min=1), default=1, show_default=True, help="Shards of the index.")
@click.option("--index-recall", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True)
@click.option("--index-bytes", type=click.FloatRange(min=0, min_open=True), help="Bytes an item the index may hold.")
@click.option(
    "--item-table",
    type=click.Choice(ITEM_TABLES),
    default="auto",
    show_default=True,
    help="Where rankers find items' features: in the model, in each request, or in the model up to 2 GiB in all.",
)
@click.option(
    "--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False), help="Also plot the measures (PNG)."
)
@reliability_option
def train(
    data_path: Path,
    log_path: Path | None,
    log_key_file: Path | None,
    store_path: Path | str,
    profile_name: str,
    seed: int,
    rankers: tuple[str, ...],
    ranker_loss: str,
    ranker_negatives: Mapping[str, int] | None,
    evaluation: bool,
    shards: int,
    index_recall: float,
    index_bytes: float | None,
    item_table: str,
    plot_path: Path | None,
    reliability_path: Path | None,
) -> None:
    """Prepare, train, index, evaluate and publish one generation."""
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def finish(stage: str) -> None:
        seconds[stage] = time.monotonic() - started - sum(seconds.values())

    try:
        if rankers != DEFAULT_RANKERS:
            ranker_names(rankers)
        dataset = read_with_log(data_path, log_path, log_key_file)
    except (DataError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    # TensorFlow takes seconds to import: not before the data is known to be good.
    from retrieval_service.engine.index.builder import IndexAim  # noqa: PLC0415
    from training.evaluation.offline import EvaluationPlan, evaluate_generation  # noqa: PLC0415
    from training.evaluation.stages import Stages  # noqa: PLC0415
    from training.profiles import PROFILES  # noqa: PLC0415
    from training.progress import TerminalReport  # noqa: PLC0415
    from training.publish import publish  # noqa: PLC0415
    from training.train import train as train_models  # noqa: PLC0415
    from twostage.bundle.open_store import open_store  # noqa: PLC0415

    finish("reading")
    report = TerminalReport()
    for note in dataset.notes:
        report.note(note)
    light = profile_name == "quick"
    plan = EvaluationPlan(baselines="light" if light else "all", user_limit=1000 if light else None)
    measured: list[OfflineEvaluation] = []

    def measure(stages: Stages) -> dict[str, object]:
        report.stage("evaluation")
        evaluation_started = time.monotonic()
        measured.append(evaluate_generation(dataset, models.split, stages, plan, report))
        seconds["evaluation"] = time.monotonic() - evaluation_started
        return measured[0].as_manifest()

    try:
        # Before hours of training: a store that cannot be is refused now.
        store = open_store(store_path)
        profile = PROFILES[profile_name].with_ranker_training(loss=ranker_loss, **(ranker_negatives or {}))
        models = train_models(dataset, profile, seed, report, rankers=rankers)
        seconds |= models.seconds
        aim = IndexAim(recall_target=index_recall, bytes_per_item=index_bytes, shard_count=shards)
        publish(models, store, aim=aim, item_table=item_table, measure=measure if evaluation else None, report=report)
        finish("export")
        if measured:
            # Stages in the order in which they ran; the evaluation did within the export.
            seconds["evaluation"] = seconds.pop("evaluation")
    except (TrainingError, BundleError) as error:
        raise click.ClickException(str(error)) from error
    if measured:
        from training.commands.evaluate import show  # noqa: PLC0415

        show(measured[0], make_console(), plot_path, reliability_path)
    click.echo(describe_seconds(seconds), err=True)


def describe_seconds(seconds: Mapping[str, float]) -> str:
    """One line: how long everything took, and each stage of it."""
    stages = ", ".join(f"{stage} {taken:.0f} s" for stage, taken in seconds.items())
    return f"took {sum(seconds.values()):.0f} s: {stages}"
