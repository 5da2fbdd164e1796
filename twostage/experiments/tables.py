"""A file of experiments as tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twostage.experiments.assignment import Assignment
from twostage.experiments.experiment import BUCKET_COUNT, ArmEntry, Condition, Experiment


def show_experiments(assignment: Assignment, console: Console) -> None:
    """Prints who gets what: each layer's buckets, the arms and what they override, and what of a layer is free."""
    table = Table("layer", "buckets", "units", "experiment", "unit", "arm", "of all", "overrides", "where", box=None)
    for layer, slots in assignment.layers.items():
        free = BUCKET_COUNT - sum(slot.end - slot.start for slot in slots)
        for slot in slots:
            experiment, share = slot.experiment, (slot.end - slot.start) / BUCKET_COUNT
            state = "" if experiment.enabled else " (off)"
            for place, (arm, part) in enumerate(_shares(experiment)):
                first = place == 0
                table.add_row(
                    escape(layer) if first else "",
                    f"{slot.start:,} to {slot.end:,}" if first else "",
                    f"{share:.2%}" if first else "",
                    escape(experiment.name) + state if first else "",
                    experiment.unit if first else "",
                    escape(arm.name),
                    f"{share * part:.2%}",
                    escape(_overrides(arm)),
                    escape(_condition(experiment.where)) if first else "",
                )
        if free:
            table.add_row(escape(layer), "", f"{free / BUCKET_COUNT:.2%}", "free", "", "", "", "", "")
    console.print(table if table.row_count else "no experiments")


def _shares(experiment: Experiment) -> list[tuple[ArmEntry, float]]:
    if experiment.kind == "interleave":
        return [(arm, 1.0) for arm in experiment.arms]
    total = sum(arm.weight for arm in experiment.arms)
    return [(arm, arm.weight / total) for arm in experiment.arms]


def _overrides(arm: ArmEntry) -> str:
    stated = arm.parameters.model_dump(exclude_none=True)
    return ", ".join(f"{name} {_value(value)}" for name, value in stated.items()) or "nothing"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {each}" for key, each in value.items()) + "}"
    return str(value)


def _condition(where: Condition) -> str:
    stated = where.model_dump(exclude_none=True)
    return "; ".join(f"{name} {' or '.join(values)}" for name, values in stated.items())
