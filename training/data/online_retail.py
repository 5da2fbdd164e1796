"""Reads the UCI Online Retail file: a year of transactions of a British gift-ware shop.

Daqing Chen, Sai Liang Sain, Kun Guo, *Data mining for the online retail industry*, Journal of Database Marketing and
Customer Strategy Management 19(3), 2012, https://doi.org/10.24432/C5BW33; CC BY 4.0.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.data.assemble import Recorded, build_catalogue, build_interactions, fingerprint
from training.data.dataset import Dataset, SplitKind, SplitRule, Task
from training.data.errors import DataError
from training.data.published import Published
from training.data.table_file import TableFile
from twostage.features.actions import Action, ActionSchema
from twostage.features.schema import FeatureSchema

RETAIL_NAMES = ("online_retail.csv", "Online Retail.csv", "OnlineRetail.csv")
"""Names under which the published spreadsheet goes as CSV."""

ACTIONS = ActionSchema(
    (
        Action("bought", source="bought"),
        Action("bought_dozen", source="bought", min_value=12.0, taste=False, weight=0.0),
    )
)
"""A line of an invoice is taste; a dozen and more, what the shop's wholesalers order, is predicted beside it."""

SCHEMA = FeatureSchema(title="description", text=("description",))

CUT = 1320796800
"""2011-11-09 00:00: the last 31 days are test. The shop's clock is read as if it were UTC."""

_COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M")


def find_online_retail(published: Published) -> str | None:
    """The name of the file that is there, or None.

    Raises:
        DataError: Only the spreadsheet is there, which is not read as it is.
    """
    for name in RETAIL_NAMES:
        if published.has(name):
            return name
    if published.has("Online Retail.xlsx"):
        expected = f"expected the sheet saved as {RETAIL_NAMES[0]} beside it (UTF-8, with commas)"
        raise DataError("Online Retail.xlsx", None, None, expected)
    return None


def read_online_retail(published: Published, name: str = RETAIL_NAMES[0]) -> Dataset:
    """Reads the transactions, one interaction for each line of an invoice, with its quantity as value.

    Kept are lines that name a customer, are no cancellation (C...), have a quantity and a price above 0 and a stock
    code that starts with five digits (others are postage, fees and the like). Codes are upper-cased; an item's
    description is its most frequent spelling, the first of equals.

    Raises:
        DataError: The file holds something unexpected.
    """
    file = TableFile.read(published.path(name), _COLUMNS)
    times = file.times("InvoiceDate", _TIME_FORMATS)
    quantities = file.numbers("Quantity")
    codes = pc.utf8_upper(file.text("StockCode"))
    customers = pc.replace_substring_regex(file.text("CustomerID"), r"\.0$", "")
    kept = _kept(file, quantities, codes, customers)
    if not kept.any():
        raise DataError(file.name, None, None, f"expected sales to customers, none of {len(file)} lines is one")
    mask = pa.array(kept)
    codes, customers, quantities = codes.filter(mask), customers.filter(mask), quantities.filter(mask)
    item_ids, descriptions = _items(codes, file.text("Description").filter(mask))
    catalogue = build_catalogue(file, "StockCode", item_ids, {"description": descriptions}, SCHEMA)
    recorded = Recorded(file, customers, codes, "StockCode", values=quantities, times=times[kept])
    return Dataset(
        name="online-retail",
        catalogue=catalogue,
        interactions=build_interactions([recorded], catalogue, ("bought",)),
        actions=ACTIONS,
        split_rule=SplitRule(SplitKind.TIME_CUT, CUT),
        tasks=(Task("bought_new", "bought"), Task("bought_any", "bought", new_items_only=False)),
        fingerprint=fingerprint([file]),
        notes=(f"{len(file) - int(kept.sum())} of {len(file)} lines dropped: no customer, cancelled, or no product",),
    )


def _kept(
    file: TableFile, quantities: pa.ChunkedArray, codes: pa.ChunkedArray, customers: pa.ChunkedArray
) -> NDArray[np.bool_]:
    conditions = (
        pc.is_valid(customers),
        pc.invert(pc.starts_with(file.text("InvoiceNo"), "C")),
        pc.greater(quantities, 0),
        pc.greater(file.numbers("UnitPrice"), 0),
        pc.match_substring_regex(codes, r"^\d{5}"),
    )
    masks = [pc.fill_null(condition, False).to_numpy().astype(np.bool_) for condition in conditions]
    return np.asarray(np.logical_and.reduce(masks))


def _items(codes: pa.ChunkedArray, descriptions: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The distinct codes in order of their first sale, and the description of each."""
    lines = pa.table({"code": codes, "description": descriptions, "line": np.arange(len(codes))})
    spellings = lines.group_by(["code", "description"]).aggregate([("line", "count"), ("line", "min")])
    order = [("line_count", "descending"), ("line_min", "ascending")]
    best: dict[str, str | None] = {}
    for row in spellings.filter(pc.is_valid(spellings["description"])).sort_by(order).to_pylist():
        best.setdefault(row["code"], row["description"])
    item_ids = pc.unique(codes)
    titles = [best.get(code) for code in item_ids.to_pylist()]
    return pa.chunked_array([item_ids]), pa.chunked_array([pa.array(titles, pa.string())])
