"""``twostage evaluate``: a generation measured offline, stage by stage."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from training.commands.options import (
    NameList,
    data_option,
    log_key_option,
    log_option,
    profile_option,
    reliability_option,
    seed_option,
)
from training.data.errors import DataError
from training.data.read import read_with_log
from training.errors import TrainingError
from twostage.bundle.errors import BundleError
from twostage.bundle.open_store import open_store
from twostage.bundle.store import Store
from twostage.options import store_option
from twostage.terminal import make_console

if TYPE_CHECKING:
    from training.data.dataset import Dataset
    from training.evaluation.harness import Result
    from training.evaluation.offline import EvaluationPlan, OfflineEvaluation
    from training.evaluation.stages import Stages
    from training.profiles import Profile
    from twostage.bundle.generation import Generation


@click.command()
@data_option
@log_option
@log_key_option
@store_option
@click.option("--generation", type=click.IntRange(min=1), help="Which.  [default: the current one]")
@click.option("--rankers", type=NameList(), help="Which of its rankers, by name.  [default: all]")
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
@reliability_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write everything as JSON.")
def evaluate(
    data_path: Path,
    log_path: Path | None,
    log_key_file: Path | None,
    store_path: Path | str,
    generation: int | None,
    rankers: tuple[str, ...] | None,
    baselines: str,
    user_limit: int | None,
    cold: bool,
    profile_name: str,
    seed: int,
    plot_path: Path | None,
    reliability_path: Path | None,
    out: Path | None,
) -> None:
    """Measure a generation on the data set that it was trained on, stage by stage, beside the baselines.

    --profile and --seed are those of the training for --cold; the generation itself is measured as it is.
    """
    try:
        dataset = read_with_log(data_path, log_path, log_key_file)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    try:
        store = open_store(store_path)
        number = store.current() if generation is None else generation
        store.fetch(number)
        opened = store.open(number, verify=("items/", "retrieval/", "ranking/"))
    except BundleError as error:
        raise click.ClickException(str(error)) from error
    _check_same_data(opened, dataset)
    from training.data.split import split as split_dataset  # noqa: PLC0415 - these take seconds to import
    from training.evaluation.offline import EvaluationPlan, evaluate_generation, ranker_titles  # noqa: PLC0415
    from training.progress import TerminalReport  # noqa: PLC0415

    report = TerminalReport()
    plan = EvaluationPlan(baselines=baselines, user_limit=user_limit, rankers=rankers)
    stages = _stages(opened, store.path)
    try:
        names = ranker_titles(stages, rankers)
        evaluation = evaluate_generation(dataset, split_dataset(dataset), stages, plan, report)
        if cold:
            profile = _profile(profile_name, opened)
            evaluation.cold_results.extend(_evaluate_cold(dataset, profile, tuple(names), seed, plan))
    except TrainingError as error:
        raise click.ClickException(str(error)) from error
    show(evaluation, make_console(), plot_path, reliability_path)
    if out:
        out.write_text(json.dumps(evaluation.as_manifest(), indent=1) + "\n", encoding="utf-8")


def show(
    evaluation: OfflineEvaluation,
    console: Console,
    plot_path: Path | None = None,
    reliability_path: Path | None = None,
) -> None:
    """Prints the tables, and draws the plots whose paths are given."""
    from training.evaluation.plot import plot  # noqa: PLC0415 - SciPy takes a second to import
    from training.evaluation.ranker_measures import ranker_tables  # noqa: PLC0415
    from training.evaluation.reliability_plot import plot_reliability  # noqa: PLC0415
    from training.evaluation.report import source_tables, tables  # noqa: PLC0415

    for table in [*tables(evaluation.results), *tables(evaluation.cold_results, note="cold items")]:
        console.print(table)
    for table in source_tables(evaluation.sources):
        console.print(table)
    for table in ranker_tables(evaluation.rankers):
        console.print(table)
    if plot_path and not evaluation.results:
        console.print("nothing was measured: no plot")
    elif plot_path:
        plot(evaluation.results, plot_path)
        console.print(f"plotted to {plot_path}")
    if reliability_path:
        measured = {name: measures.calibration for name, measures in evaluation.rankers.items()}
        if not any(len(each.counts) for theirs in measured.values() for each in theirs.values()):
            console.print("nobody did anything new: no plot of reliability")
            return
        plot_reliability(measured, reliability_path)
        console.print(f"reliability plotted to {reliability_path}")


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
    from training.saved_model_scorer import saved_model_scorer  # noqa: PLC0415

    scorer = saved_model_scorer(store_path, opened.number, opened.manifest.rankers)
    return Stages(RetrievalEngine.open(opened), RankingEngine.open(opened), scorer)


def _profile(name: str, opened: Generation) -> Profile:
    """A profile with the loss and the negatives that a generation's rankers were trained with."""
    from training.profiles import PROFILES  # noqa: PLC0415 - takes seconds to import

    profile = PROFILES[name]
    trained = opened.manifest.training.get("config", {}).get("ranker_training", {})
    same = ("loss", *(f"{kind}negative_count" for kind in ("", "random_", "popularity_", "in_batch_", "shown_")))
    return profile.with_ranker_training(**{field: trained[field] for field in same if field in trained})


def _evaluate_cold(
    dataset: Dataset, profile: Profile, rankers: tuple[str, ...], seed: int, plan: EvaluationPlan
) -> list[Result]:
    from training.data.split import cold_item_rows  # noqa: PLC0415 - these take seconds to import
    from training.evaluation.offline import evaluate_cold_items  # noqa: PLC0415
    from training.progress import TerminalReport  # noqa: PLC0415
    from training.publish import publish  # noqa: PLC0415
    from training.train import train as train_models  # noqa: PLC0415

    report = TerminalReport()
    hidden = cold_item_rows(dataset)
    report.note(f"training again without the {int(hidden.sum()):,} items to be found")
    learnable = ~hidden[dataset.interactions.rows]
    models = train_models(dataset, profile, seed, report, learnable, rankers)
    with tempfile.TemporaryDirectory() as folder:
        publish(models, Store(folder), report=report)
        stages = _stages(Store(folder).open(), Path(folder))
        return evaluate_cold_items(dataset, models.split, hidden, stages, plan)
