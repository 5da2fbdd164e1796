"""Reading a file of experiments.

::

    experiments:
      - name: new-ranker
        layer: ranking
        traffic: 0.5
        arms:
          - name: control
          - name: candidate
            parameters: {ranker: din}
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from twostage.experiments.assignment import Assignment
from twostage.experiments.errors import ExperimentsInvalid
from twostage.experiments.experiment import Experiment
from twostage.experiments.parameters import STRICT

MAX_FILE_BYTES = 1 << 20
"""A file of experiments is read by people."""
_MAX_RECEIVED_CHARS = 80
# What is no YAML, nested too deeply, or has an explicit tag before what it does not fit: PyYAML's constructors of
# numbers, truths and times look into their texts unasked.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class _File(BaseModel):
    model_config = STRICT

    experiments: Annotated[tuple[Experiment, ...], Field(strict=False, max_length=100)]


def read_experiments(path: Path) -> Assignment:
    """Reads and checks a file of experiments.

    Args:
        path: A YAML file as docs/experiments.md describes it, at most 1 MiB.

    Raises:
        ExperimentsInvalid: It cannot be read, is no such file, or its experiments do not fit together.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ExperimentsInvalid(path, [f"expected a file that can be read: {error.strerror}"]) from error
    if len(text) > MAX_FILE_BYTES:
        raise ExperimentsInvalid(path, [f"expected at most {MAX_FILE_BYTES} bytes, received more"])
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that refuses repeated keys
    except _UNREADABLE as error:
        raise ExperimentsInvalid(path, [f"expected YAML: {' '.join(str(error).split())}"]) from error
    try:
        return Assignment(_File.model_validate(document).experiments)
    except ValidationError as error:
        # A ValidationError is a ValueError too.
        raise ExperimentsInvalid(path, list(_complaints(error, document))) from error
    except ValueError as error:
        raise ExperimentsInvalid(path, [str(each) for each in error.args]) from error


def _complaints(error: ValidationError, document: object) -> Iterator[str]:
    details = error.errors()
    for detail in details:
        # A list whose entries are wrong counts as too short as well.
        if any(len(each["loc"]) > len(detail["loc"]) == _common(each["loc"], detail["loc"]) for each in details):
            continue
        where, location = _name(detail["loc"], document)
        field = _field(location)
        yield where + (f"{field}: " if field else "") + _phrase(detail)


def _common(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _name(location: tuple[int | str, ...], document: object) -> tuple[str, tuple[int | str, ...]]:
    """An experiment's name, as far as it has one, and the location inside it."""
    if len(location) < 2 or not isinstance(document, dict):
        return "", location
    entries = document.get("experiments")
    index = location[1]
    if isinstance(entries, list) and isinstance(index, int) and isinstance(entries[index], dict):
        name = entries[index].get("name")
        if isinstance(name, str) and name:
            return f"experiment {name!r}: ", location[2:]
    return "", location


def _field(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _phrase(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing":
            return "expected a value, received nothing"
        case "extra_forbidden":
            return "expected no such key"
        case "model_type" | "dict_type" | "model_attributes_type":
            expected = "keys with values"
        case "too_short" | "too_long":
            bound = detail["ctx"]
            expected = f"at least {bound['min_length']}" if "min_length" in bound else f"at most {bound['max_length']}"
        case "tuple_type" | "list_type":
            expected = "a list"
        case "value_error":
            expected = str(detail["ctx"]["error"])
        case _:
            message = detail["msg"]
            expected = message[0].lower() + message[1:]
            for opening in ("input should be ", "string should ", "expected "):
                expected = expected.removeprefix(opening)
    received = detail["input"]
    try:
        text = repr(received)
    except ValueError:
        # Python writes no integer of thousands of digits.
        return f"expected {expected}, received a number of too many digits"
    # A whole experiment as it came says less than which one it is.
    if isinstance(received, dict | list | BaseModel) and len(text) > _MAX_RECEIVED_CHARS:
        return f"expected {expected}"
    hint = ", a text in quotes?" if isinstance(received, bool) and "string" in expected else ""
    return f"expected {expected}, received {text:.{_MAX_RECEIVED_CHARS}}{hint}"


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Makes a mapping of distinct keys."""
        met = set()
        for key in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key in met:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", node.start_mark)
            met.add(key)
        return super().construct_mapping(node, deep)
