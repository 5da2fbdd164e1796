"""What is a folder, what is a URL, and where a URL's copies go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from twostage.bundle.errors import BundleError, LocationUnsupported
from twostage.bundle.location import cache_folder, check_url, is_url
from twostage.bundle.open_store import open_store
from twostage.bundle.store import Store


@pytest.mark.parametrize(
    "location", ["s3://bucket/prefix", "memory://a", "file:///a", "gcs://b", "simplecache::s3://b"]
)
def test_a_scheme_and_two_slashes_are_a_url(location: str) -> None:
    assert is_url(location)


@pytest.mark.parametrize("location", ["store", "/a/store", "./s3:/x", "a::b", "C:\\store", "", "://x", Path("s3://b")])
def test_everything_else_is_a_folder(location: str | Path) -> None:
    assert not is_url(location)


def test_a_folder_gives_a_local_store(tmp_path: Path) -> None:
    for location in (tmp_path, str(tmp_path)):
        store = open_store(location, cache=tmp_path / "unused")
        assert type(store) is Store
        assert store.path == tmp_path
        assert store.location == str(tmp_path)


def test_slashes_at_the_end_name_the_same_store() -> None:
    assert check_url("s3://bucket/prefix//") == "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("simplecache::s3://bucket", "expected one file system"),
        ("memory://", "expected a bucket or a folder"),
        ("s3:///", "expected a bucket or a folder"),
        ("ftp://somebody:secret@host/store", "expected credentials in the environment"),
        ("s3://somebody:secret@[bucket/store", "expected a URL, as s3://bucket/prefix: Invalid IPv6 URL"),
    ],
)
def test_a_url_that_can_be_no_store_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(LocationUnsupported, match=complaint) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", [Path("s3://bucket/prefix"), "s3:/bucket/prefix"])
def test_a_url_that_something_made_a_path_of_is_refused(path: Path | str) -> None:
    with pytest.raises(LocationUnsupported, match="made into a path"):
        open_store(path)


def test_what_only_reads_folders_refuses_a_url() -> None:
    with pytest.raises(LocationUnsupported, match=r"^s3://bucket/a: expected a folder here, received a URL$"):
        Store("s3://bucket/a")


def test_an_unknown_protocol_is_one_clear_line() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(LocationUnsupported, match=r"^nonsense://a/b: Protocol not known: nonsense$"):
        open_store("nonsense://a/b")


@pytest.mark.parametrize("absent", ["fsspec", "s3fs"])
def test_a_library_that_is_not_installed_is_one_line_that_names_the_extra(absent: str) -> None:
    script = f"""
import sys
sys.modules[{absent!r}] = None
from twostage.bundle.errors import LocationUnsupported
from twostage.bundle.open_store import open_store
open_store(".")
try:
    open_store("s3://bucket/prefix")
except LocationUnsupported as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith("s3://bucket/prefix: ")
    assert "pip install 'twostage[store-s3]'" in line


def test_a_local_store_needs_no_library_of_an_extra() -> None:
    script = "import sys; from twostage.bundle.open_store import open_store; open_store('.'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"fsspec", "s3fs", "aiobotocore"} & set(loaded)


def test_every_url_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TWOSTAGE_CACHE", str(tmp_path))
    urls = ["s3://bucket/a", "s3://bucket/a/b", "s3://bucket/a-b", "gcs://bucket/a"]
    folders = {cache_folder(url) for url in urls}
    assert len(folders) == len(urls)
    assert {folder.parent for folder in folders} == {tmp_path}


def test_without_the_variable_the_cache_is_in_the_platforms_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TWOSTAGE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder("s3://bucket/a").parent == tmp_path / "twostage"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder("s3://bucket/a").parent == Path("/home/somebody/.cache/twostage")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder("s3://bucket/a").parent == Path("/home/somebody/Library/Caches/twostage")


def test_every_complaint_is_a_bundle_error() -> None:
    assert issubclass(LocationUnsupported, BundleError)
