from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training.data.own_files import write_own
from tests.unit.training.data.published_files import goodbooks, write_files
from training.data.errors import DataError
from training.data.read import read_dataset


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a directory with a data set"):
        read_dataset(tmp_path / "nowhere")


def test_a_directory_with_nothing_known_is_refused_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.yaml, books\.csv, movies\.csv, movies\.dat or online_retail\.csv"):
        read_dataset(tmp_path)


def test_a_description_goes_before_published_names(tmp_path: Path) -> None:
    write_files(tmp_path, goodbooks())

    assert read_dataset(write_own(tmp_path)).name == "shop"


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, goodbooks(), gzipped=True)
    content = (tmp_path / "ratings.csv.gz").read_bytes()
    (tmp_path / "ratings.csv.gz").write_bytes(content[: len(content) // 2])

    with pytest.raises(DataError, match=r"ratings\.csv\.gz: cannot be read"):
        read_dataset(tmp_path)
