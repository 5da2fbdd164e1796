"""Reads a data set as training would and says what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.table import Table

from training.data.dataset import Dataset
from training.data.read import read_with_log
from training.data.split import cold_item_rows, split


def check(path: Path, log_path: Path | None = None, key_file: Path | None = None) -> Table:
    """Reads the data set in a directory and summarises it as a table of names and values.

    Args:
        path: The directory.
        log_path: A gateway's log behind it; none by default.
        key_file: The log's secret.

    Raises:
        DataError: The data set is not as it should be.
    """
    return summarise(read_with_log(path, log_path, key_file))


def summarise(dataset: Dataset) -> Table:
    """A table with counts, density, actions, features, the sizes of the split and the notes of a data set."""
    table = Table(title=dataset.name, show_header=False)
    table.add_column("name", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in _lines(dataset):
        table.add_row(name, value)
    return table


def _lines(dataset: Dataset) -> list[tuple[str, str]]:
    catalogue, interactions = dataset.catalogue, dataset.interactions
    schema = catalogue.schema
    pairs = np.unique(interactions.users.astype(np.int64) * len(catalogue) + interactions.rows)
    cells = len(interactions.user_ids) * len(catalogue)
    held_out = split(dataset)
    recorded = np.bincount(interactions.actions, minlength=len(interactions.recorded))
    lines = [
        ("items", f"{len(catalogue):,}, {len(np.unique(interactions.rows)):,} of them with interactions"),
        ("people", f"{len(interactions.user_ids):,}, {_quartiles(np.bincount(interactions.users))}"),
        ("interactions", f"{len(interactions):,}"),
        ("density", f"{len(pairs) / cells:.3%} of the pairs of a person and an item"),
        ("period", _period(dataset)),
        ("recorded", ", ".join(f"{n} {count:,}" for n, count in zip(interactions.recorded, recorded, strict=True))),
    ]
    for action in dataset.actions.actions:
        labels = dataset.actions.label(action.name, interactions.recorded, interactions.actions, interactions.values)
        meaning = "taste" if action.taste else "an event, no taste"
        lines.append((f"action {action.name}", f"{int(labels.sum()):,}, {meaning}, weight {action.weight:g}"))
    kinds = {"text": schema.text, "categorical": schema.categorical, "numeric": schema.numeric}
    kinds |= {"multi-valued": schema.multi_valued, "image": () if schema.image is None else (schema.image,)}
    for kind, columns in kinds.items():
        if columns:
            lines.append((kind, ", ".join(f"{column} ({_coverage(dataset, column):.1%})" for column in columns)))
    sizes = (int(held_out.train.sum()), int(held_out.validation.sum()), int(held_out.test.sum()))
    lines.append((f"split {dataset.split_rule.kind.value}", "train {:,}, validation {:,}, test {:,}".format(*sizes)))
    lines.append(("cold items", f"{int(cold_item_rows(dataset).sum()):,} held out whole in the cold-item experiment"))
    lines.append(("tasks", ", ".join(f"{task.name} ({task.action})" for task in dataset.tasks)))
    if dataset.logged is not None:
        logged = dataset.logged
        shown = f"{len(logged.exposures.users):,} items shown to somebody who did nothing with them"
        lines.append(("from the log", f"{logged.interaction_count:,} interactions; {shown}"))
    lines.append(("fingerprint", dataset.fingerprint))
    lines.extend(("note", note) for note in dataset.notes)
    return lines


def _quartiles(counts: np.ndarray[tuple[int], np.dtype[np.intp]]) -> str:
    return f"median {np.median(counts):g} interactions, at most {counts.max():,}"


def _period(dataset: Dataset) -> str:
    times = dataset.interactions.times
    if times is None:
        return "no times: order is the source's"
    first, last = (np.datetime64(int(second), "s") for second in (times.min(), times.max()))
    return f"{first} to {last} UTC"


def _coverage(dataset: Dataset, column: str) -> float:
    """The share of items that have something in a column."""
    values = dataset.catalogue.columns.column(column)
    if column in dataset.catalogue.schema.multi_valued:
        filled = sum(bool(value) for value in values.to_pylist())
    else:
        filled = len(values) - values.null_count
    return float(filled / len(values))
