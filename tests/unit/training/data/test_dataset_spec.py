from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.training.data.own_files import SPEC, changed, write_own
from training.data.dataset_spec import load_spec
from training.data.errors import DataError


def load(directory: Path, spec: object) -> DataError:
    """The error that a description raises."""
    with pytest.raises(DataError) as raised:
        load_spec(write_own(directory, spec) / "dataset.yaml")
    return raised.value


@pytest.mark.parametrize(
    ("spec", "key", "message"),
    [
        (changed("items.titel", "name"), "items.titel", "unknown key"),
        ({key: SPEC[key] for key in SPEC if key != "split"}, "split", "missing"),
        (changed("format", 2), "format", "1"),
        (changed("split", {"kind": "random"}), "split.kind", "'hashed', 'time_cut' or 'leave_last_out'"),
        (changed("split", {"kind": "time_cut"}), "split", "expected a cut"),
        (changed("split", {"kind": "time_cut", "cut": "some day"}), "split.cut", "some day"),
        (changed("items.numeric", ["name"]), "items", "name is of two"),
        (changed("interactions.recorded", "rated"), "interactions.0", "either action"),
        (changed("interactions.order", "n"), "interactions.0", "time or order"),
        (changed("tasks", [{"name": "t", "action": "sold"}]), None, "rated, liked, bought, got sold"),
        (changed("actions", []), "actions", "at least 1"),
        (changed("actions", [{"name": "x"}, {"name": "x"}]), None, "distinct"),
        (changed("actions", [{"name": "x", "weight": -1}]), "actions.0.weight", "-1"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, spec: object, key: str | None, message: str) -> None:
    error = load(tmp_path, spec)

    assert (error.file, error.column) == ("dataset.yaml", key)
    assert message in error.message


def test_a_wrong_key_is_found_at_its_line(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed("interactions.valu", "stars"), sort_keys=False)

    error = load(tmp_path, text)

    assert error.row is not None
    assert text.splitlines()[error.row - 1].strip() == "valu: stars"


@pytest.mark.parametrize(("text", "row"), [("name: [", 1), ("a: 1\nb: {c\n", 3), ("- 1\n", 1), ("", 1)])
def test_what_is_no_yaml_mapping_is_refused(tmp_path: Path, text: str, row: int) -> None:
    error = load(tmp_path, text)

    assert error.file == "dataset.yaml"
    assert error.row is not None
    assert abs(error.row - row) <= 1


@pytest.mark.parametrize(
    "cut", ["2024-02-01", "'2024-02-01'", "2024-02-01T00:00:00Z", "2024-02-01 01:00:00+01:00", "1706745600"]
)
def test_a_cut_is_a_date_a_time_or_unix_seconds(tmp_path: Path, cut: str) -> None:
    text = yaml.safe_dump(SPEC, sort_keys=False).replace("'2024-02-01'", cut)

    assert load_spec(write_own(tmp_path, text) / "dataset.yaml").split_rule.cut == 1_706_745_600


def test_each_action_of_taste_is_a_task_when_none_is_given(tmp_path: Path) -> None:
    spec = load_spec(write_own(tmp_path) / "dataset.yaml")

    assert [task.action for task in spec.evaluation_tasks] == ["liked", "bought"]
    assert [action.source for action in spec.action_schema.actions] == ["rated", "rated", "bought"]
