"""Files that do not fit are refused when they are opened: what reads rows later reads wherever they point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twostage.bundle.attributes import Attributes
from twostage.bundle.errors import BundleCorrupt
from twostage.errors import InvalidField

TAGS = [["a"], ["a", "b"], [], ["c"], ["b"]]
YEARS = np.array([1.0, np.nan, 3.0, 2.0, 5.0])


def written(folder: Path) -> dict[str, str]:
    return Attributes.write(folder, {"tags": TAGS, "year": YEARS})


def test_a_posting_past_the_end_is_refused(tmp_path: Path) -> None:
    kinds = written(tmp_path)
    path = tmp_path / "tags" / "postings.npy"
    postings = np.load(path)
    postings[0] = 5
    np.save(path, postings)
    with pytest.raises(BundleCorrupt, match="expected rows below 5, found 5"):
        Attributes.open(tmp_path, kinds, len(TAGS))


def test_offsets_that_fall_are_refused(tmp_path: Path) -> None:
    kinds = written(tmp_path)
    path = tmp_path / "tags" / "posting_offsets.npy"
    offsets = np.load(path)
    offsets[1], offsets[2] = offsets[2], offsets[1]
    np.save(path, offsets)
    with pytest.raises(BundleCorrupt, match="offsets rising"):
        Attributes.open(tmp_path, kinds, len(TAGS))


def test_an_order_past_the_end_is_refused(tmp_path: Path) -> None:
    kinds = written(tmp_path)
    path = tmp_path / "year" / "order.npy"
    order = np.load(path)
    order[-1] = 77
    np.save(path, order)
    with pytest.raises(BundleCorrupt, match="rows below 5"):
        Attributes.open(tmp_path, kinds, len(TAGS))


@pytest.mark.parametrize("name", ["", ".", "..", "../evil", "/evil", "a/b", "a\\b", "a\x00b", "x" * 129])
def test_a_name_that_cannot_be_a_folders_is_neither_written_nor_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidField, match="attribute: expected a name of 1 to 128 bytes"):
        Attributes.write(tmp_path, {name: TAGS})
    assert not list(tmp_path.iterdir())
    with pytest.raises(BundleCorrupt, match="attributes' names of 1 to 128 bytes"):
        Attributes.open(tmp_path, {name: "values"}, len(TAGS))
