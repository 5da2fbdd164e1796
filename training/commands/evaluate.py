"""``twostage evaluate``: a generation measured offline, stage by stage."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from training.commands.options import data_option, profile_option, seed_option
from training.data.errors import DataError
from training.data.read import read_dataset
from training.errors import TrainingError
from twostage.bundle.store import Store
from twostage.options import store_option
from twostage.terminal import make_console

if TYPE_CHECKING:
    from training.data.dataset import Dataset
    from training.evaluation.harness import Result
    from training.evaluation.offline import EvaluationPlan, OfflineEvaluation
    from training.evaluation.stages import Stages
    from twostage.bundle.generation import Generation


@click.command()
@data_option
@store_option
@click.option("--generation", type=click.IntRange(min=1), help="Which.  [default: the current one]")
@click.option("--baselines", type=click.Choice(["all", "light", "none"]), default="all", show_default=True)
@click.option(
    "--people", "user_limit", type=click.IntRange(min=1), help="The most people a task.  [default: as documented]"
)
@click.option("--cold", is_flag=True, help="Also hide whole items, train anew without them, and search for them.")
@profile_option
@seed_option
@click.option(
    "--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False), help="Also plot the measures (PNG)."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write everything as JSON.")
def evaluate(
    data_path: Path,
    store_path: Path,
    generation: int | None,
    baselines: str,
    user_limit: int | None,
    cold: bool,
    profile_name: str,
    seed: int,
    plot_path: Path | None,
    out: Path | None,
) -> None:
    """Measure a generation on the data set that it was trained on, stage by stage, beside the baselines.

    --profile and --seed are those of the training for --cold; the generation itself is measured as it is.
    """
    try:
        dataset = read_dataset(data_path)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    opened = Store(store_path).open(generation, verify=("items/", "retrieval/", "ranking/"))
    _check_same_data(opened, dataset)
    from training.data.split import split as split_dataset  # noqa: PLC0415 - these take seconds to import
    from training.evaluation.offline import EvaluationPlan, evaluate_generation  # noqa: PLC0415
    from training.progress import TerminalReport  # noqa: PLC0415

    report = TerminalReport()
    plan = EvaluationPlan(baselines=baselines, user_limit=user_limit)
    evaluation = evaluate_generation(dataset, split_dataset(dataset), _stages(opened, store_path), plan, report)
    if cold:
        try:
            evaluation.cold_results.extend(_evaluate_cold(dataset, profile_name, seed, plan))
        except TrainingError as error:
            raise click.ClickException(str(error)) from error
    show(evaluation, make_console(), plot_path)
    if out:
        out.write_text(json.dumps(evaluation.as_manifest(), indent=1) + "\n", encoding="utf-8")


def show(evaluation: OfflineEvaluation, console: Console, plot_path: Path | None = None) -> None:
    """Prints the tables, and draws the plot when a path is given."""
    from training.evaluation.plot import plot  # noqa: PLC0415 - matplotlib takes a second to import
    from training.evaluation.report import source_tables, tables  # noqa: PLC0415

    for table in [*tables(evaluation.results), *tables(evaluation.cold_results, note="cold items")]:
        console.print(table)
    for table in source_tables(evaluation.sources):
        console.print(table)
    if evaluation.candidates:
        names = list(next(iter(evaluation.candidates.values())))
        table = Table("action", *names, title="over the ranker's candidates", box=SIMPLE_HEAD)
        for task, estimates in evaluation.candidates.items():
            table.add_row(task, *(f"{estimates[name].mean:.4f}" for name in names))
        console.print(table)
    if plot_path:
        plot(evaluation.results, plot_path)
        console.print(f"plotted to {plot_path}")


def _check_same_data(opened: Generation, dataset: Dataset) -> None:
    trained = opened.manifest.source.fingerprint
    if trained != dataset.fingerprint:
        raise click.ClickException(
            f"generation {opened.number} was trained on {opened.manifest.source.name} ({trained[:12]}…), "
            f"not on this data: {dataset.name} ({dataset.fingerprint[:12]}…)"
        )


def _stages(opened: Generation, store_path: Path) -> Stages:
    from ranking_service.engine.engine import RankingEngine  # noqa: PLC0415 - these take seconds to import
    from retrieval_service.engine.engine import RetrievalEngine  # noqa: PLC0415
    from training.evaluation.stages import Stages  # noqa: PLC0415
    from training.saved_model_scorer import SavedModelScorer  # noqa: PLC0415

    ranker = opened.manifest.ranker
    scorer = SavedModelScorer(store_path / "models" / ranker.model / str(opened.number), ranker.signature)
    return Stages(RetrievalEngine.open(opened), RankingEngine.open(opened), scorer)


def _evaluate_cold(dataset: Dataset, profile_name: str, seed: int, plan: EvaluationPlan) -> list[Result]:
    from training.data.split import cold_item_rows  # noqa: PLC0415 - these take seconds to import
    from training.evaluation.offline import evaluate_cold_items  # noqa: PLC0415
    from training.profiles import PROFILES  # noqa: PLC0415
    from training.progress import TerminalReport  # noqa: PLC0415
    from training.publish import publish  # noqa: PLC0415
    from training.train import train as train_models  # noqa: PLC0415

    report = TerminalReport()
    hidden = cold_item_rows(dataset)
    report.note(f"training again without the {int(hidden.sum()):,} items to be found")
    learnable = ~hidden[dataset.interactions.rows]
    models = train_models(dataset, PROFILES[profile_name], seed, report, learnable)
    with tempfile.TemporaryDirectory() as folder:
        publish(models, Store(folder), report=report)
        stages = _stages(Store(folder).open(), Path(folder))
        return evaluate_cold_items(dataset, models.split, hidden, stages, plan)
