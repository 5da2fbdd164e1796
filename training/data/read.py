"""Reads a data set from a directory, whatever published form it has."""

from __future__ import annotations

import gzip
from pathlib import Path

from training.data.dataset import Dataset
from training.data.dataset_spec import SPEC_NAME
from training.data.errors import DataError
from training.data.gateway_log import add_log
from training.data.goodbooks import read_goodbooks
from training.data.movielens import read_movielens
from training.data.movietweetings import read_movietweetings
from training.data.online_retail import RETAIL_NAMES, find_online_retail, read_online_retail
from training.data.own_format import read_own_format
from training.data.published import Published

_IMDB_DIGITS = 7


def read_with_log(path: Path, log_path: Path | None, key_file: Path | None = None) -> Dataset:
    """Reads the data set in a directory, with a gateway's log behind it.

    Args:
        path: The directory.
        log_path: The log's folder; None reads the data set alone.
        key_file: The secret behind the log's user keys; see :func:`training.data.gateway_log.add_log`.

    Raises:
        DataError: As :func:`read_dataset` and :func:`training.data.gateway_log.add_log`.
    """
    if log_path is None and key_file is not None:
        raise DataError(str(key_file), None, None, "expected a log that it is the secret of, there is none")
    dataset = read_dataset(path)
    return dataset if log_path is None else add_log(dataset, log_path, key_file)


def read_dataset(path: Path) -> Dataset:
    """Reads the data set in a directory.

    Recognised are, plain or gzipped: goodbooks-10k (``books.csv``), MovieLens (``movies.csv``, or the older
    ``movies.dat``), MovieTweetings (``movies.dat`` with IMDb numbers) and the UCI online retail file
    (``online_retail.csv``). A ``dataset.yaml`` in the directory goes before them: the format of docs/data-format.md.

    Args:
        path: The directory.

    Raises:
        DataError: There is no such directory, nothing in it is recognised, or something in it is wrong.
    """
    if not path.is_dir():
        raise DataError(str(path), None, None, "expected a directory with a data set, there is none")
    published = Published(path)
    if (path / SPEC_NAME).is_file():
        return read_own_format(path)
    if published.has("books.csv"):
        return read_goodbooks(published)
    if published.has("movies.csv"):
        return read_movielens(published)
    if published.has("movies.dat"):
        return read_movietweetings(published) if _has_imdb_ids(published) else read_movielens(published)
    if (name := find_online_retail(published)) is not None:
        return read_online_retail(published, name)
    expected = f"{SPEC_NAME}, books.csv, movies.csv, movies.dat or {RETAIL_NAMES[0]} (plain or .gz)"
    raise DataError(str(path), None, None, f"expected {expected}, there is none of them")


def _has_imdb_ids(published: Published) -> bool:
    """MovieTweetings and MovieLens share the names of their .dat files; IMDb numbers have at least seven digits."""
    path = published.path("movies.dat")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        first = file.readline().split(b"::")[0].strip()
    return len(first) >= _IMDB_DIGITS
