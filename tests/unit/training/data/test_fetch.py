from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.data.published_files import goodbooks, write_files
from training.data.errors import DataError
from training.data.fetch import GOODBOOKS, fetch_goodbooks, git_blob_id
from training.data.read import read_dataset


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, says nothing and notes what was asked for."""

    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def do_GET(self) -> None:
        """Notes the path."""
        type(self).asked.append(self.path)
        super().do_GET()


class Dripping(http.server.BaseHTTPRequestHandler):
    """Sends a piece now and then, for longer than anybody waits."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def do_HEAD(self) -> None:
        """Answers at once."""
        self.send_response(200)
        self.send_header("Content-Length", str(10 << 20))
        self.end_headers()

    def do_GET(self) -> None:
        """Drips."""
        self.do_HEAD()
        try:
            for _ in range(100):
                self.wfile.write(b"x" * (1 << 16))
                time.sleep(0.1)
        except OSError:
            pass


class Hesitant(Dripping):
    """Sends its headers so slowly that each piece comes in time and the whole does not."""

    def do_HEAD(self) -> None:
        """Sends a byte now and then."""
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(50):
                self.wfile.write(b"A")
                time.sleep(0.1)
        except OSError:
            pass


def serve(handler: Any) -> Iterator[str]:
    """Runs a server on a free port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory that is served."""
    return write_files(tmp_path / "source", goodbooks())


@pytest.fixture
def url(source: Path) -> Iterator[str]:
    """Where it is served."""
    Quiet.asked = []
    yield from serve(partial(Quiet, directory=str(source)))


@pytest.fixture
def dripping_url() -> Iterator[str]:
    """A server that never ends."""
    yield from serve(Dripping)


@pytest.fixture
def hesitant_url() -> Iterator[str]:
    """A server that never gets to the point."""
    yield from serve(Hesitant)


def ids(source: Path) -> dict[str, str]:
    """The blob ids as Git computes them."""
    contents = {path.name: path.read_bytes() for path in sorted(source.iterdir())}
    return {
        name: hashlib.sha1(b"blob %d\0" % len(c) + c, usedforsecurity=False).hexdigest() for name, c in contents.items()
    }


def test_files_are_downloaded_checked_and_readable_and_not_downloaded_again(
    tmp_path: Path, source: Path, url: str
) -> None:
    out = fetch_goodbooks(tmp_path / "out", 5.0, base_url=url, blob_ids=ids(source))
    fetch_goodbooks(tmp_path / "out", 5.0, base_url=url, blob_ids=ids(source))

    assert len(read_dataset(out).catalogue) == 3
    assert sorted(Quiet.asked) == sorted(f"/{name}" for name in ids(source))


def test_a_download_with_another_checksum_is_refused_and_removed(tmp_path: Path, source: Path, url: str) -> None:
    expected = ids(source) | {"ratings.csv": "0" * 40}

    with pytest.raises(DataError, match=r"ratings\.csv: expected Git blob 0{40}, the download is [0-9a-f]{40}"):
        fetch_goodbooks(tmp_path / "out", 5.0, base_url=url, blob_ids=expected)

    assert not (tmp_path / "out" / "ratings.csv").exists()
    assert (tmp_path / "out" / "books.csv").exists()


def test_a_file_already_there_with_another_checksum_is_refused_and_left_alone(
    tmp_path: Path, source: Path, url: str
) -> None:
    write_files(tmp_path / "out", {"books.csv": "mine"})

    with pytest.raises(DataError, match=r"books\.csv: expected Git blob"):
        fetch_goodbooks(tmp_path / "out", 5.0, base_url=url, blob_ids=ids(source))

    assert (tmp_path / "out" / "books.csv").read_text(encoding="utf-8") == "mine"


def test_a_file_that_the_server_lacks_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: cannot be downloaded from http://.*: HTTPError"):
        fetch_goodbooks(tmp_path, 5.0, base_url=url, blob_ids={"absent.csv": "0" * 40})


def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"

    with pytest.raises(DataError, match=r"books\.csv: cannot be downloaded from .*: ConnectionError"):
        fetch_goodbooks(tmp_path, 5.0, base_url=url)


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(DataError, match="cannot be downloaded"):
            fetch_goodbooks(tmp_path, 0.3, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/")

    assert time.monotonic() - started < 3.0


def test_an_answer_that_hesitates_is_waited_for_no_longer_than_asked(tmp_path: Path, hesitant_url: str) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"no answer within 0\.3 s"):
        fetch_goodbooks(tmp_path, 0.3, base_url=hesitant_url)

    assert time.monotonic() - started < 3.0


def test_a_slow_download_ends_when_its_time_is_spent_and_leaves_no_half_file(tmp_path: Path, dripping_url: str) -> None:
    with pytest.raises(DataError, match="the time for the download is spent"):
        fetch_goodbooks(tmp_path / "out", 5.0, total_seconds=0.3, base_url=dripping_url)

    assert list((tmp_path / "out").iterdir()) == []


def test_the_published_ids_are_gits_own() -> None:
    """Git's id of the empty file is known to everybody."""
    assert set(GOODBOOKS) == {"books.csv", "tags.csv", "book_tags.csv", "to_read.csv", "ratings.csv"}
    assert all(len(blob) == 40 for blob in GOODBOOKS.values())


def test_the_blob_id_of_an_empty_file_is_the_one_that_git_gives(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert git_blob_id(tmp_path / "empty") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
