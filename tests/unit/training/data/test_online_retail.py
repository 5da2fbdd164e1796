from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.data.published_files import RETAIL, write_files
from training.data.errors import DataError
from training.data.read import read_dataset
from training.data.split import split


@pytest.mark.parametrize(
    ("name", "gzipped"), [("online_retail.csv", False), ("online_retail.csv", True), ("Online Retail.csv", False)]
)
def test_only_sales_of_products_to_customers_are_kept(tmp_path: Path, name: str, gzipped: bool) -> None:
    dataset = read_dataset(write_files(tmp_path, {name: RETAIL}, gzipped=gzipped))
    done = dataset.interactions

    assert dataset.catalogue.item_ids == ["85123A", "71053"]
    assert dataset.catalogue.titles() == ["LANTERN", "HOLDER"]
    assert done.user_ids == ["17850", "12345"]
    assert done.users.tolist() == [0, 0, 1, 1, 1]
    assert done.rows.tolist() == [0, 1, 1, 0, 1]
    assert done.values.tolist() == [6.0, 12.0, 1.0, 1.0, 2.0]
    assert done.times is not None
    assert done.times[0] == datetime(2010, 12, 1, 8, 26, tzinfo=UTC).timestamp()
    assert dataset.split_rule.cut == datetime(2011, 11, 9, tzinfo=UTC).timestamp()
    assert dataset.actions.label("bought_dozen", done.recorded, done.actions, done.values).tolist() == [
        False, True, False, False, False,
    ]  # fmt: skip


def test_american_dates_as_spreadsheets_write_them_are_read(tmp_path: Path) -> None:
    text = RETAIL.splitlines()[0] + "\n1,85123A,LANTERN,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"

    times = read_dataset(write_files(tmp_path, {"online_retail.csv": text})).interactions.times

    assert times is not None
    assert times.tolist() == [datetime(2010, 12, 1, 8, 26, tzinfo=UTC).timestamp()]


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("2011-11-10 00:00:00,2.55", "yesterday,2.55", (9, "InvoiceDate")),
        ("HOLDER OLD,12,", "HOLDER OLD,a dozen,", (3, "Quantity")),
        ("3.39,17850.0,United Kingdom\nC2", "cheap,17850.0,United Kingdom\nC2", (3, "UnitPrice")),
        ("StockCode", "Stock", (1, "StockCode")),
    ],
)
def test_bad_lines_are_refused_with_line_and_column(
    tmp_path: Path, before: str, after: str, place: tuple[int, str]
) -> None:
    assert before in RETAIL
    with pytest.raises(DataError) as raised:
        read_dataset(write_files(tmp_path, {"online_retail.csv": RETAIL.replace(before, after, 1)}))

    assert (raised.value.file, raised.value.row, raised.value.column) == ("online_retail.csv", *place)


def test_a_file_without_any_sale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 lines"):
        read_dataset(
            write_files(tmp_path, {"online_retail.csv": "\n".join([*RETAIL.splitlines()[:1], RETAIL.splitlines()[3]])})
        )


def test_the_spreadsheet_alone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "Online Retail.xlsx").write_bytes(b"PK")

    with pytest.raises(DataError, match=r"saved as online_retail\.csv"):
        read_dataset(tmp_path)


@pytest.mark.data
def test_the_real_file_holds_what_its_readme_counts(real_data: Callable[[str], Path]) -> None:
    dataset = read_dataset(real_data("online-retail"))
    done = dataset.interactions

    assert (len(dataset.catalogue), len(done.user_ids), len(done)) == (3_659, 4_334, 396_337)
    pairs = np.unique(done.users.astype(np.int64) * 3_659 + done.rows)
    assert len(pairs) == 266_221
    assert dataset.catalogue.columns["description"].null_count == 0


@pytest.mark.data
def test_the_real_split_tests_as_many_customers_as_its_readme_counts(real_data: Callable[[str], Path]) -> None:
    dataset = read_dataset(real_data("online-retail"))
    done, test = dataset.interactions, split(dataset).test
    pairs = done.users.astype(np.int64) * len(dataset.catalogue) + done.rows
    known = test & np.isin(done.users, done.users[~test])
    new = known & ~np.isin(pairs, pairs[~test]) & np.isin(done.rows, done.rows[~test])

    assert len(np.unique(done.users[known])) == 1_395
    assert len(np.unique(done.users[new])) == 1_287
