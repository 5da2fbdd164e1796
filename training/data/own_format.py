"""Reads and writes Twostage's own format: Parquet or CSV and a small YAML; see docs/data-format.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from training.data.assemble import Recorded, build_catalogue, build_interactions, fingerprint, keep_last_repeats
from training.data.dataset import Catalogue, Dataset, SplitRule, Task
from training.data.dataset_spec import SPEC_NAME, InteractionsSpec, ItemsSpec, load_spec
from training.data.errors import DataError
from training.data.table_file import TableFile
from twostage.features.actions import ActionSchema
from twostage.features.schema import FeatureSchema

ITEMS_NAME = "items.parquet"
INTERACTIONS_NAME = "interactions.parquet"


def read_own_format(directory: Path) -> Dataset:
    """Reads the data set that the directory's ``dataset.yaml`` describes.

    Raises:
        DataError: The description or a file is missing or wrong; file, row and column are named.
    """
    spec = load_spec(directory / SPEC_NAME)
    items = _open_items(directory, spec.items)
    catalogue = _catalogue(items, spec.items)
    actions = spec.action_schema
    recorded = actions.recorded_names
    files = [_open_interactions(directory, part) for part in spec.interactions]
    parts = [_recorded(file, part, recorded) for file, part in zip(files, spec.interactions, strict=True)]
    interactions = build_interactions(parts, catalogue, recorded)
    orders = [file.integers(p.order) for file, p in zip(files, spec.interactions, strict=True) if p.order is not None]
    if orders:
        interactions = interactions.take(np.argsort(np.concatenate(orders), kind="stable"))
    kept = keep_last_repeats(interactions, len(catalogue)) if spec.repeats == "keep_last" else interactions
    dropped = len(interactions) - len(kept)
    return Dataset(
        name=spec.name,
        catalogue=catalogue,
        interactions=kept,
        actions=actions,
        split_rule=spec.split_rule,
        tasks=spec.evaluation_tasks,
        fingerprint=fingerprint([items, *files]),
        notes=(f"{dropped} repeats of a person, item and action dropped, the last kept",) if dropped else (),
    )


def write_dataset(dataset: Dataset, directory: Path) -> None:
    """Writes a data set in the own format, as Parquet; reading it again gives the same items and interactions.

    Args:
        dataset: The data set; repeats in it are kept.
        directory: Where to write; made when it is missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    catalogue, interactions = dataset.catalogue, dataset.interactions
    columns = {"item_id": pa.array(catalogue.item_ids, pa.string())}
    columns |= {name: catalogue.columns.column(name) for name in catalogue.schema.columns}
    pq.write_table(pa.table(columns), directory / ITEMS_NAME)
    done = {
        "user_id": pa.array(interactions.user_ids, pa.string()).take(pa.array(interactions.users)),
        "item_id": pa.array(catalogue.item_ids, pa.string()).take(pa.array(interactions.rows)),
        "action": pa.array(interactions.recorded, pa.string()).take(pa.array(interactions.actions)),
        "value": pa.array(interactions.values, mask=np.isnan(interactions.values)),
    }
    if interactions.times is not None:
        done["time"] = pa.array(interactions.times)
    pq.write_table(pa.table(done), directory / INTERACTIONS_NAME)
    write_spec(
        directory,
        name=dataset.name,
        schema=catalogue.schema,
        actions=dataset.actions,
        rule=dataset.split_rule,
        tasks=dataset.tasks,
        timed=interactions.times is not None,
    )


def write_spec(
    directory: Path,
    *,
    name: str,
    schema: FeatureSchema,
    actions: ActionSchema,
    rule: SplitRule,
    tasks: tuple[Task, ...],
    timed: bool,
    repeats: str = "keep_all",
) -> None:
    """Writes the ``dataset.yaml`` for the two Parquet files that :func:`write_dataset` names."""
    items: dict[str, Any] = {"file": ITEMS_NAME, "id": "item_id", "title": schema.title}
    items |= {"text": list(schema.text), "categorical": list(schema.categorical), "numeric": list(schema.numeric)}
    items |= {"multi_valued": list(schema.multi_valued), "image": schema.image}
    done = {"file": INTERACTIONS_NAME, "user": "user_id", "item": "item_id", "action": "action", "value": "value"}
    spec = {
        "format": 1,
        "name": name,
        "items": {key: value for key, value in items.items() if value},
        "interactions": done | ({"time": "time"} if timed else {}),
        "repeats": repeats,
        "actions": [
            {"name": a.name, "source": a.source, "min_value": a.min_value, "taste": a.taste, "weight": a.weight}
            for a in actions.actions
        ],
        "split": {"kind": rule.kind.value} | ({} if rule.cut is None else {"cut": rule.cut}),
        "tasks": [{"name": t.name, "action": t.action, "new_items_only": t.new_items_only} for t in tasks],
    }
    # Everything beyond ASCII is escaped: PyYAML writes some line breaks of Unicode that it does not read back.
    (directory / SPEC_NAME).write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def _open_items(directory: Path, spec: ItemsSpec) -> TableFile:
    return TableFile.read(directory / spec.file, [spec.id, *spec.schema_.columns])


def _catalogue(file: TableFile, spec: ItemsSpec) -> Catalogue:
    schema = spec.schema_
    columns = {name: file.text(name) for name in (*schema.text, *schema.categorical)}
    columns |= {name: file.numbers(name) for name in schema.numeric}
    columns |= {name: file.lists(name, separator) for name, separator in spec.multi_valued.items()}
    if schema.image is not None:
        columns[schema.image] = file.vectors(schema.image)
    return build_catalogue(file, spec.id, file.ids(spec.id), columns, schema)


def _open_interactions(directory: Path, spec: InteractionsSpec) -> TableFile:
    named = (spec.user, spec.item, spec.action, spec.value, spec.time, spec.order)
    return TableFile.read(directory / spec.file, [column for column in named if column is not None])


def _recorded(file: TableFile, spec: InteractionsSpec, names: tuple[str, ...]) -> Recorded:
    return Recorded(
        file=file,
        users=file.ids(spec.user),
        items=file.ids(spec.item),
        item_column=spec.item,
        actions=_action_codes(file, spec, names),
        values=None if spec.value is None else file.numbers(spec.value),
        times=None if spec.time is None else file.times(spec.time),
    )


def _action_codes(file: TableFile, spec: InteractionsSpec, names: tuple[str, ...]) -> NDArray[np.int16] | int:
    expected = f"expected one of the recorded actions {', '.join(names)}"
    if spec.recorded is not None:
        if spec.recorded not in names:
            raise DataError(SPEC_NAME, None, "interactions.recorded", f"{expected}, got {spec.recorded!r}")
        return names.index(spec.recorded)
    assert spec.action is not None
    found = file.text(spec.action)
    codes = pc.fill_null(pc.index_in(found, value_set=pa.array(names)), -1).to_numpy().astype(np.int16)
    unknown = np.flatnonzero(codes < 0)
    if len(unknown):
        record = int(unknown[0])
        raise file.error(record, spec.action, f"{expected}, got {found[record].as_py()!r}")
    return np.asarray(codes, dtype=np.int16)
