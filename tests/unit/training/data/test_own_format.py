from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.data.own_files import EVENTS, ITEMS, changed, write_own
from training.data.dataset import Catalogue, Dataset, Interactions, SplitKind, SplitRule, Task
from training.data.errors import DataError
from training.data.own_format import write_dataset
from training.data.read import read_dataset
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

TEN = 1_704_103_200  # 2024-01-01 10:00 UTC


def refused(directory: Path, spec: object = None, items: str = ITEMS, events: str = EVENTS) -> DataError:
    """The error that reading raises."""
    with pytest.raises(DataError) as raised:
        read_dataset(write_own(directory, spec, items, events))
    return raised.value


def test_csv_files_are_read_as_the_description_says(tmp_path: Path) -> None:
    dataset = read_dataset(write_own(tmp_path))
    done = dataset.interactions

    assert dataset.catalogue.item_ids == ["a", "b", "c"]
    assert dataset.catalogue.columns.to_pydict() == {
        "name": ["Lamp", "Chair", "Table"],
        "description": ["bright, warm", None, "oak"],
        "colour": ["red", None, "brown"],
        "weight": [1.5, None, 30.0],
        "labels": [["new", "light"], [], ["wood"]],
    }
    assert done.user_ids == ["u1", "u2"]
    assert [done.recorded[action] for action in done.actions] == ["rated", "bought", "rated", "rated"]
    assert done.rows.tolist() == [0, 1, 0, 2]
    np.testing.assert_equal(done.values, np.array([5, np.nan, 2, 4], np.float32))
    assert done.times is not None
    assert done.times.tolist() == [TEN, TEN + 86_400, TEN, 1_706_745_600]
    assert dataset.split_rule == SplitRule(SplitKind.TIME_CUT, 1_706_745_600)


@pytest.mark.parametrize(
    ("items", "row", "column", "message"),
    [
        (ITEMS.replace("sku,name", "id,name"), 1, "sku", "there are only id, name"),
        (ITEMS + "a,Again,,,,\n", 5, "sku", "'a' is also in line 2"),
        (ITEMS + ",Nameless,,,,\n", 5, "sku", "empty"),
        (ITEMS + f"{'ü' * 129},Long,,,,\n", 5, "sku", "at most 256 bytes of UTF-8, got 258 bytes"),
        (ITEMS + "d,Heavy,,,much,\n", 5, "weight", "expected a number, got 'much'"),
        (ITEMS + "d,Heavy,,,inf,\n", 5, "weight", "finite"),
        (ITEMS + "d,Short\n", 5, None, "expected 6 fields, got 2"),
        (ITEMS.splitlines()[0] + "\n", None, None, "the catalogue is empty"),
        ("", None, None, "the file is empty"),
        (ITEMS.replace("sku,name", "sku,sku"), 1, "sku", "named twice"),
        (ITEMS.replace('"bright, warm"', '"bright,\nwarm"') + "a,,,,,\n", 6, "sku", "'a' is also in line 2"),
    ],
)
def test_bad_items_are_refused_with_line_and_column(
    tmp_path: Path, items: str, row: int | None, column: str | None, message: str
) -> None:
    error = refused(tmp_path, items=items)

    assert (error.file, error.row, error.column) == ("items.csv", row, column)
    assert message in error.message


@pytest.mark.parametrize(
    ("events", "row", "column", "message"),
    [
        (EVENTS.replace("when", "time"), 1, "when", "expected this column"),
        (EVENTS + "u1,z,bought,,2024-01-01\n", 6, "sku", "expected an item of the catalogue, got 'z'"),
        (EVENTS + "u1,a,bought,,tomorrow\n", 6, "when", "ISO 8601), got 'tomorrow'"),
        (EVENTS + "u1,a,bought,,2024-13-01\n", 6, "when", "'2024-13-01'"),
        (EVENTS + "u1,a,bought,,\n", 6, "when", "empty"),
        (EVENTS + "u1,a,sold,,2024-01-01\n", 6, "what", "rated, bought, liked, got 'sold'"),
        (EVENTS + "u1,a,rated,five,2024-01-01\n", 6, "stars", "'five'"),
        (EVENTS + ",a,rated,5,2024-01-01\n", 6, "who", "empty"),
        (EVENTS.splitlines()[0] + "\n", None, None, "at least one interaction"),
    ],
)
def test_bad_interactions_are_refused_with_line_and_column(
    tmp_path: Path, events: str, row: int | None, column: str | None, message: str
) -> None:
    error = refused(tmp_path, events=events)

    assert (error.file, error.row, error.column) == ("events.csv", row, column)
    assert message in error.message


def test_the_error_says_all_in_one_line(tmp_path: Path) -> None:
    error = refused(tmp_path, events=EVENTS + "u1,z,bought,,2024-01-01\n")

    assert str(error) == "events.csv, line 6, column sku: expected an item of the catalogue, got 'z'"


def test_bytes_that_are_no_utf_8_are_refused_with_their_line(tmp_path: Path) -> None:
    write_own(tmp_path)
    (tmp_path / "items.csv").write_bytes(ITEMS.encode() + b"d,Caf\xe9,,,,\n")

    with pytest.raises(DataError, match=r"items\.csv, line 5: expected UTF-8"):
        read_dataset(tmp_path)


def test_a_file_that_is_missing_or_no_parquet_is_refused(tmp_path: Path) -> None:
    missing = refused(tmp_path / "a", changed("items.file", "other.csv"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "broken.parquet").write_bytes(b"PAR1 or so")
    broken = refused(tmp_path / "b", changed("items.file", "broken.parquet"))

    assert (missing.file, broken.file) == ("other.csv", "broken.parquet")
    assert "Parquet" in broken.message


def test_parquet_records_are_counted_from_1(tmp_path: Path) -> None:
    write_own(tmp_path, changed("items.file", "items.parquet"))
    columns = {name: ["x", "y", "x"] for name in ("sku", "name", "description", "colour", "labels")}
    pq.write_table(pa.table(columns | {"weight": [1, 2, 3]}), tmp_path / "items.parquet")

    with pytest.raises(DataError, match=r"items\.parquet, row 3, column sku: .*'x' is also in row 1"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (pa.array([[1.0], [1.0, 2.0], [1.0]]), "row 2, column image: expected 1 numbers, got 2"),
        (pa.array([[1.0], None, [float("nan")]]), "row 3, column image: expected finite"),
        (pa.array(["a", "b", "c"]), "column image: expected lists of floating-point numbers, got string"),
    ],
)
def test_images_of_other_shapes_are_refused(tmp_path: Path, images: pa.Array, message: str) -> None:
    spec = changed("items", {"file": "items.parquet", "image": "image"})
    write_own(tmp_path, spec)
    columns = {"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "image": images}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")

    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path)


def test_an_item_without_image_has_zeros(tmp_path: Path) -> None:
    write_own(tmp_path, changed("items", {"file": "items.parquet", "image": "image"}))
    columns = {"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "image": pa.array([[1.0, 2.0], None, [3.0, 4.0]])}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")

    images = read_dataset(tmp_path).catalogue.columns["image"]

    assert images.type == pa.list_(pa.float32(), 2)
    assert images.to_pylist() == [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]


def test_an_order_column_puts_interactions_in_order_and_the_last_repeat_is_kept(tmp_path: Path) -> None:
    spec = changed(
        "interactions", {"file": "events.csv", "user": "who", "item": "sku", "recorded": "bought", "order": "n"}
    )
    spec["split"] = {"kind": "leave_last_out"}
    events = "who,sku,n\nu1,a,3\nu1,b,2\nu1,a,1\n"

    dataset = read_dataset(write_own(tmp_path / "last", spec, events=events))
    everything = read_dataset(write_own(tmp_path / "all", spec | {"repeats": "keep_all"}, events=events))

    assert dataset.interactions.rows.tolist() == [1, 0]
    assert dataset.interactions.times is None
    assert everything.interactions.rows.tolist() == [0, 1, 0]
    assert dataset.notes == ("1 repeats of a person, item and action dropped, the last kept",)


def test_several_files_of_interactions_are_joined(tmp_path: Path) -> None:
    spec = changed(
        "interactions",
        [
            {"file": "events.csv", "user": "who", "item": "sku", "action": "what", "value": "stars", "time": "when"},
            {"file": "sold.csv", "user": "who", "item": "sku", "recorded": "bought", "time": "when"},
        ],
    )
    write_own(tmp_path, spec)
    (tmp_path / "sold.csv").write_text("who,sku,when\nu3,c,2024-01-05\n", encoding="utf-8")

    done = read_dataset(tmp_path).interactions

    assert done.user_ids == ["u1", "u2", "u3"]
    assert done.recorded[done.actions[-1]] == "bought"


def test_a_recorded_name_without_a_meaning_is_refused(tmp_path: Path) -> None:
    spec = changed(
        "interactions", {"file": "events.csv", "user": "who", "item": "sku", "recorded": "sold", "time": "when"}
    )

    error = refused(tmp_path, spec)

    assert (error.file, error.column) == ("dataset.yaml", "interactions.recorded")


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=12)
TEXTS = st.none() | WORDS
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Small data sets of every shape."""
    item_ids = draw(st.lists(IDS, min_size=1, max_size=6, unique=True))
    count = len(item_ids)

    def column(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(values, min_size=count, max_size=count))

    image = pa.array(np.array(column(st.floats(-1, 1, width=32)), np.float32).repeat(3))
    table = pa.table(
        {
            "title": pa.array(column(TEXTS), pa.string()),
            "kind": pa.array(column(TEXTS), pa.string()),
            "size": pa.array(column(NUMBERS), pa.float64()),
            "tags": pa.array(column(st.lists(WORDS, max_size=3)), pa.list_(pa.string())),
            "image": pa.FixedSizeListArray.from_arrays(image, 3),
        }
    )
    schema = FeatureSchema("title", ("title",), ("kind",), ("size",), ("tags",), "image")
    size = draw(st.integers(1, 12))
    user_ids = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    users = np.array(draw(st.lists(st.integers(0, len(user_ids) - 1), min_size=size, max_size=size)), np.int32)
    rows = draw(st.lists(st.integers(0, count - 1), min_size=size, max_size=size))
    actions = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    values = draw(st.lists(st.floats(width=32, allow_infinity=False), min_size=size, max_size=size))
    times = draw(st.none() | st.lists(st.integers(0, 2**40), min_size=size, max_size=size))
    done = Interactions(
        user_ids=user_ids,
        recorded=("rated", "liked"),
        users=users,
        rows=np.array(rows, np.int32),
        actions=np.array(actions, np.int16),
        values=np.array(values, np.float32),
        times=None if times is None else np.array(times, np.int64),
    )
    return Dataset(
        name=draw(IDS),
        catalogue=Catalogue(item_ids, table, schema),
        interactions=done,
        actions=ActionSchema((Action("rated", "rated", None, False, 0.0), Action("liked", "rated", 3.5))),
        split_rule=SplitRule(SplitKind.HASHED) if times is None else SplitRule(SplitKind.TIME_CUT, times[0]),
        tasks=(Task("likes", "liked", new_items_only=False),),
        fingerprint="",
    )


@settings(max_examples=60, deadline=None)
@given(dataset=datasets())
def test_what_is_written_is_read_again(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write_dataset(dataset, Path(directory))
        again = read_dataset(Path(directory))

    assert again.catalogue.item_ids == dataset.catalogue.item_ids
    assert again.catalogue.schema == dataset.catalogue.schema
    assert again.catalogue.columns.to_pydict() == dataset.catalogue.columns.to_pydict()
    assert (again.name, again.actions, again.tasks) == (dataset.name, dataset.actions, dataset.tasks)
    assert again.split_rule == dataset.split_rule
    before, after = dataset.interactions, again.interactions
    assert [after.user_ids[user] for user in after.users] == [before.user_ids[user] for user in before.users]
    assert [after.recorded[code] for code in after.actions] == [before.recorded[code] for code in before.actions]
    assert after.rows.tolist() == before.rows.tolist()
    np.testing.assert_array_equal(after.values, before.values)
    if before.times is None:
        assert after.times is None
    else:
        assert after.times is not None
        assert after.times.tolist() == before.times.tolist()
