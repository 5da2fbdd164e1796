"""The small YAML that describes a data set in Twostage's own format."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from training.data.dataset import SplitKind, SplitRule, Task
from training.data.errors import DataError
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

SPEC_NAME = "dataset.yaml"
"""The name of the description inside a data set's directory."""

DEFAULT_SEPARATOR = "|"

Name = Annotated[str, Field(min_length=1, max_length=256)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ItemsSpec(_Spec):
    """Where the items are and which column is what."""

    file: Name
    id: Name = "item_id"
    title: Name = "title"
    text: tuple[Name, ...] = ()
    categorical: tuple[Name, ...] = ()
    numeric: tuple[Name, ...] = ()
    multi_valued: dict[Name, Name] = Field(default_factory=dict)
    image: Name | None = None

    @field_validator("multi_valued", mode="before")
    @classmethod
    def _separators(cls, value: object) -> object:
        """A plain list of columns is short for the default separator."""
        return dict.fromkeys(value, DEFAULT_SEPARATOR) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_kind_each(self) -> ItemsSpec:
        text = dict.fromkeys([self.title, *self.text])
        image = [] if self.image is None else [self.image]
        named = [*text, *self.categorical, *self.numeric, *self.multi_valued, *image]
        twice = sorted({column for column in named if named.count(column) > 1})
        if twice:
            raise ValueError(f"expected each column to be of one kind, {', '.join(twice)} is of two")
        return self

    @property
    def schema_(self) -> FeatureSchema:
        """The feature schema that this describes; the title is the first text."""
        return FeatureSchema(
            title=self.title,
            text=tuple(dict.fromkeys([self.title, *self.text])),
            categorical=self.categorical,
            numeric=self.numeric,
            multi_valued=tuple(self.multi_valued),
            image=self.image,
        )


class InteractionsSpec(_Spec):
    """Where interactions are and which column is what."""

    file: Name
    user: Name = "user_id"
    item: Name = "item_id"
    action: Name | None = None
    recorded: Name | None = None
    value: Name | None = None
    time: Name | None = None
    order: Name | None = None

    @model_validator(mode="after")
    def _alternatives(self) -> InteractionsSpec:
        if (self.action is None) == (self.recorded is None):
            raise ValueError("expected either action (a column) or recorded (one action for the whole file)")
        if self.time is not None and self.order is not None:
            raise ValueError("expected time or order, got both")
        return self


class ActionSpec(_Spec):
    """What a recorded action means."""

    name: Name
    source: Name | None = None
    min_value: float | None = None
    taste: bool = True
    weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 1.0


class SplitSpec(_Spec):
    """How interactions are held out."""

    kind: SplitKind
    cut: int | None = None

    @field_validator("cut", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        """Dates and times of YAML, or ISO 8601 in quotes, become Unix seconds; without a zone they are UTC."""
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
        return int(datetime.combine(value, time(), UTC).timestamp()) if isinstance(value, date) else value

    @model_validator(mode="after")
    def _cut_with_time_cut(self) -> SplitSpec:
        if (self.kind is SplitKind.TIME_CUT) != (self.cut is not None):
            raise ValueError("expected a cut for time_cut, and for nothing else")
        return self


class TaskSpec(_Spec):
    """What an evaluation asks."""

    name: Name
    action: Name
    new_items_only: bool = True


class DatasetSpec(_Spec):
    """A data set's description; docs/data-format.md explains every key."""

    format: Literal[1]
    name: Name
    items: ItemsSpec
    interactions: Annotated[tuple[InteractionsSpec, ...], Field(min_length=1)]
    repeats: Literal["keep_last", "keep_all"] = "keep_last"
    actions: Annotated[tuple[ActionSpec, ...], Field(min_length=1)]
    split: SplitSpec
    tasks: tuple[TaskSpec, ...] = ()

    @field_validator("interactions", mode="before")
    @classmethod
    def _one_file(cls, value: object) -> object:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSpec:
        names = [action.name for action in self.actions]
        if len(set(names)) < len(names):
            raise ValueError(f"expected distinct names of actions, got {', '.join(names)}")
        for task in self.tasks:
            if task.action not in names:
                raise ValueError(f"task {task.name}: expected one of the actions {', '.join(names)}, got {task.action}")
        timed = {part.time is not None for part in self.interactions}
        ordered = {part.order is not None for part in self.interactions}
        if len(timed) > 1 or len(ordered) > 1:
            raise ValueError("expected time (or order) in all files of interactions or in none")
        if self.split.kind is SplitKind.TIME_CUT and timed == {False}:
            raise ValueError("expected interactions with a time column for a split by time_cut")
        return self

    @property
    def action_schema(self) -> ActionSchema:
        """The actions; one without a source is recorded under its own name."""
        return ActionSchema(
            tuple(Action(a.name, a.source or a.name, a.min_value, a.taste, a.weight) for a in self.actions)
        )

    @property
    def split_rule(self) -> SplitRule:
        """The rule by which interactions are held out."""
        return SplitRule(self.split.kind, self.split.cut)

    @property
    def evaluation_tasks(self) -> tuple[Task, ...]:
        """The tasks; when none is given, one for each action of taste."""
        if self.tasks:
            return tuple(Task(task.name, task.action, task.new_items_only) for task in self.tasks)
        return tuple(Task(action.name, action.name) for action in self.actions if action.taste)


def load_spec(path: Path) -> DatasetSpec:
    """Reads and checks a description.

    Raises:
        DataError: It is no YAML, or a key is missing, unknown or has a wrong value; the line and the key are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise DataError(path.name, mark.line + 1 if mark else None, None, f"expected YAML: {problem}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path.name, None, None, f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DataError(path.name, 1, None, f"expected keys such as format and items, got {type(content).__name__}")
    try:
        return DatasetSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            path.name, _line(node, first["loc"]), ".".join(map(str, first["loc"])) or None, _message(first)
        ) from error


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "expected this key, it is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    came = repr(error["input"])
    return message if error["type"] == "value_error" else f"{message}, got {came[:80]}"


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int | None:
    """The line of the innermost key of a location that is in the document."""
    line = None
    for step in location:
        if isinstance(node, yaml.MappingNode):
            entry = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if entry is None:
                # A single file of interactions stands without its list, so its position names nothing.
                if isinstance(step, int):
                    continue
                break
            line, node = entry[0].start_mark.line + 1, entry[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line
