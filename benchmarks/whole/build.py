"""Makes the stores that are measured: ``python -m benchmarks.whole.build --items N --work DIR``.

A process of its own, so that what training holds is gone when the measuring begins. What is there already is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from benchmarks.second_generation import publish_again
from benchmarks.whole.stores import BuiltStore

if TYPE_CHECKING:
    from training.train import TrainedModels


@click.command()
@click.option("--items", "item_counts", type=click.IntRange(min=1_000), multiple=True, required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
def main(item_counts: tuple[int, ...], work: Path) -> None:
    """Train once, publish a store for each size, with a second generation to swap to."""
    wanted = [BuiltStore(work, count) for count in item_counts]
    missing = [built for built in wanted if not built.is_whole()]
    if not missing:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow takes seconds to import.
    from benchmarks.whole.catalogue import KNOWN_ITEMS, extended, train_known  # noqa: PLC0415
    from benchmarks.whole.pairwise import export_pairwise  # noqa: PLC0415
    from training.progress import TerminalReport  # noqa: PLC0415
    from training.publish import publish  # noqa: PLC0415

    report = TerminalReport(Console(stderr=True, highlight=False))
    data = work / "data"
    trained: dict[int, TrainedModels] = {}
    try:
        for built in missing:
            started = time.monotonic()
            shutil.rmtree(built.folder, ignore_errors=True)
            known = min(built.item_count, KNOWN_ITEMS)
            if known not in trained:
                trained[known] = train_known(data, known, report)
            seconds = {"training, shared by all sizes": time.monotonic() - started}
            models = extended(trained[known], built.item_count, data, report)
            seconds["more items"] = time.monotonic() - started - sum(seconds.values())
            manifest = publish(models, built.store, report=report)
            seconds["publishing"] = time.monotonic() - started - sum(seconds.values())
            export_pairwise(models.ranker.model, built.pairwise_model, models.profile.config.ranker.table_dtype)
            report.stage("the second generation")
            publish_again(built.store, manifest.generation)
            seconds["second generation"] = time.monotonic() - started - sum(seconds.values())
            built.finish({name: round(taken, 1) for name, taken in seconds.items()})
            report.note(json.dumps({"items": built.item_count, "seconds": seconds}))
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
