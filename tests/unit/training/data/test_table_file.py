from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.errors import DataError
from training.data.table_file import TableFile

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def parquet(directory: Path, **columns: pa.Array) -> TableFile:
    """A Parquet file with the given columns, opened."""
    pq.write_table(pa.table(columns), directory / "t.parquet")
    return TableFile.read(directory / "t.parquet", list(columns))


def csv(directory: Path, text: str, *required: str) -> TableFile:
    """A CSV file, opened."""
    (directory / "t.csv").write_bytes(text.encode("utf-8"))
    return TableFile.read(directory / "t.csv", list(required))


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["x", "y", "x"], pa.large_string()),
        pa.array(["x", "y", "x"]).dictionary_encode(),
        pa.array(["x", "y", "x"], pa.string_view()),
    ],
)
def test_text_of_any_parquet_type_is_text(tmp_path: Path, values: pa.Array) -> None:
    assert parquet(tmp_path, c=values).text("c").to_pylist() == ["x", "y", "x"]


def test_whole_numbers_of_parquet_are_ids(tmp_path: Path) -> None:
    assert parquet(tmp_path, c=pa.array([7, 10], pa.int32())).ids("c").to_pylist() == ["7", "10"]


def test_a_missing_id_of_parquet_is_refused_at_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet, row 2, column c: expected an id"):
        parquet(tmp_path, c=pa.array([7, None], pa.int32())).ids("c")


def test_fractions_are_no_ids(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected text or whole numbers, got double"):
        parquet(tmp_path, c=pa.array([7.0])).ids("c")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([NOON], pa.timestamp("us", "UTC")),
        pa.array([NOON], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([NOON.replace(tzinfo=None, microsecond=999_000)], pa.timestamp("ms")),
        pa.array([int(NOON.timestamp())]),
        pa.array(["2024-03-01T12:00:00.75Z"]),
        pa.array(["2024-03-01 13:00:00+01:00"]),
    ],
)
def test_times_of_any_kind_are_unix_seconds(tmp_path: Path, values: pa.Array) -> None:
    assert parquet(tmp_path, c=values).times("c").tolist() == [NOON.timestamp()]


def test_dates_are_their_midnight(tmp_path: Path) -> None:
    assert parquet(tmp_path, c=pa.array([date(1970, 1, 3)])).times("c").tolist() == [2 * 86_400]


def test_fractions_of_seconds_are_cut_off_downwards_also_before_1970(tmp_path: Path) -> None:
    times = csv(tmp_path, "c\n1969-12-31T23:59:58.5Z\n1970-01-01T00:00:01.5\n-7\n", "c").times("c")

    assert times.tolist() == [-2, 1, -7]


def test_lists_may_be_lists_or_text_with_a_separator(tmp_path: Path) -> None:
    lists = pa.array([[" a ", "", None, "b"], None, []])
    table = parquet(tmp_path, lists=lists, text=pa.array(["a|b| ", None, "c"]), n=pa.array([1, 2, 3]))

    assert table.lists("lists", None).to_pylist() == [["a", "b"], [], []]
    assert table.lists("text", "|").to_pylist() == [["a", "b"], [], ["c"]]
    with pytest.raises(DataError, match="a list of strings, or text and a separator, got int64"):
        table.lists("n", "|")


def test_lists_of_a_slice_keep_to_their_records(tmp_path: Path) -> None:
    table = TableFile("t", pa.table({"c": pa.array([["x"], ["a", "b"], ["c"]]).slice(1)}), "")

    assert table.lists("c", None).to_pylist() == [["a", "b"], ["c"]]


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_the_text(tmp_path: Path) -> None:
    table = csv(tmp_path, "\ufeffa,b\r\n1,x\r\n2,\r\n", "a", "b")

    assert table.ids("a").to_pylist() == ["1", "2"]
    assert table.text("b").to_pylist() == ["x", None]


def test_text_that_looks_like_nothing_is_kept(tmp_path: Path) -> None:
    assert csv(tmp_path, "a\nNA\nnull\nNaN\n", "a").text("a").to_pylist() == ["NA", "null", "NaN"]


def test_lines_are_those_of_the_file_with_blank_lines_quotes_and_carriage_returns(tmp_path: Path) -> None:
    table = csv(tmp_path, 'a,b\r\n\r\n1,"x\r\ny"\r\n2,z\r\n\r\n3,w\r\n', "a", "b")

    assert [table.place(record) for record in range(3)] == ["line 3", "line 5", "line 7"]
    assert table.error(2, "b", "no").row == 7


def test_the_first_of_several_bad_values_is_named(tmp_path: Path) -> None:
    text = "n\n" + "1\n" * 500 + "x\n" + "2\n" * 300 + "y\n"

    with pytest.raises(DataError, match=r"t\.csv, line 502, column n: expected a number, got 'x'"):
        csv(tmp_path, text, "n").numbers("n")


def test_a_long_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        csv(tmp_path, f"n\n{'z' * 500}\n", "n").numbers("n")

    assert len(str(raised.value)) < 160
