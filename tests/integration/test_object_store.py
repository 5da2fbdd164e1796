"""Stores on S3, over HTTP to a real server of its protocol, through connections that break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.byte_proxy import ByteProxy
from tests.small_generation import FIELDS, publish_small
from twostage.bundle.errors import BundleCorrupt, GenerationMissing, StoreBusy, StoreMissing, StoreUnreachable
from twostage.bundle.remote_folder import UPLOAD_PART_BYTES, RemoteFolder
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store
from twostage.bundle.upload import has_etag
from twostage.bundle.writer import GenerationWriter

for extra in ("s3fs", "moto", "flask"):
    pytest.importorskip(extra, reason=f"{extra} is not installed: the extras store-s3 and dev bring it")

BUCKET = "a-bucket"
URL = f"s3://{BUCKET}/some/store"
CHUNK = 128 << 10
OVERHEAD = 100_000
"""Bytes that a fetch may need besides contents: headers, listings, the manifest."""


@pytest.fixture(scope="module")
def server_port() -> Iterator[int]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - part of an extra

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def proxy(server_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[ByteProxy]:
    """What all clients of a test talk to, with an empty bucket behind it."""
    import fsspec  # noqa: PLC0415 - part of an extra

    for variable in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # s3fs tries five times, and each time the library below it as often; its waits would be most of the tests' time.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    direct = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{server_port}", use_listings_cache=False)
    direct.mkdir(BUCKET)
    with ByteProxy(server_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
    direct.rm(BUCKET, recursive=True)


@pytest.fixture
def opened(proxy: ByteProxy, tmp_path: Path) -> Callable[[str], RemoteStore]:
    """Opens the store with a cache of the given name."""
    return lambda cache: RemoteStore(URL, tmp_path / cache, chunk_bytes=CHUNK)


@pytest.fixture
def author(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    return opened("author")


@pytest.fixture
def reader(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    return opened("reader")


def random_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


MODEL = {"saved_model.pb": random_bytes(700_000), "variables/variables.data": random_bytes(3_000_000, 1)}
MODEL_BYTES = 3_700_000

FETCH = """
    import sys
    from pathlib import Path
    from twostage.bundle.remote_store import RemoteStore
    RemoteStore(sys.argv[1], Path(sys.argv[2]), chunk_bytes=131072).fetch(int(sys.argv[3]))
"""

PUBLISH = """
    import sys
    from pathlib import Path
    from tests.integration.test_object_store import PIECES
    from tests.small_generation import publish_small
    from twostage.bundle.remote_store import RemoteStore
    publish_small(RemoteStore(sys.argv[1], Path(sys.argv[2])), model_files=PIECES)
"""
PIECES = {f"piece-{i}": random_bytes(400_000, i) for i in range(10)}


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Ends a process by SIGKILL as soon as the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the process ended too early: {process.communicate()[1]}")
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def part_bytes(folder: Path) -> int:
    byte_count = 0
    for path in folder.rglob("*.part-*"):
        # It may be whole, and have its own name, by now.
        with suppress(FileNotFoundError):
            byte_count += path.stat().st_size
    return byte_count


def test_what_one_machine_publishes_another_serves(author: RemoteStore, reader: RemoteStore) -> None:
    with pytest.raises(StoreMissing, match="the store is empty"):
        reader.current()
    for number in (1, 2):
        assert publish_small(author, model_files=MODEL).generation == number
        assert reader.current() == number, "no listing of before is remembered"
        assert reader.generations() == list(range(1, number + 1))
    count = reader.verify(2)
    copy = Store(reader.path)
    assert count == copy.verify(2)
    assert copy.open(2).ids.rows(["b"]).tolist() == [1]
    assert (copy.models_path / "content/2/variables/variables.data").read_bytes() == MODEL["variables/variables.data"]
    reader.set_current(1)
    assert author.current() == 1
    author.remove(2)
    assert reader.generations() == [1]
    with pytest.raises(GenerationMissing, match="generation 2 is not in the store; present: 1"):
        reader.fetch(2)
    assert publish_small(reader).generation == 3


def test_what_others_publish_and_remove_is_seen_at_once(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    """Others share nothing with the reader, in particular no memory of what was listed."""
    import fsspec  # noqa: PLC0415 - part of an extra

    publish_small(author)
    others = fsspec.filesystem("s3", endpoint_url=proxy.url, skip_instance_cache=True)
    assert reader.generations() == [1]
    assert reader.current() == 1
    others.pipe_file(f"{URL}/generations/2/manifest.json", b"{}")
    assert reader.generations() == [1, 2]
    others.pipe_file(f"{URL}/CURRENT", b"2\n")
    assert reader.current() == 2
    others.rm_file(f"{URL}/generations/1/manifest.json")
    assert reader.generations() == [2]


def test_looking_at_current_is_one_request(author: RemoteStore, reader: RemoteStore, proxy: ByteProxy) -> None:
    publish_small(author)
    assert reader.current() == 1
    proxy.reset()
    for _ in range(5):
        reader.current()
    assert proxy.requests == [f"GET /{BUCKET}/some/store/CURRENT"] * 5
    assert proxy.received_count < 5 * 1000


def test_what_is_in_the_cache_is_verified_and_not_downloaded(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    publish_small(author, model_files=MODEL)
    proxy.reset()
    reader.fetch(1)
    assert proxy.received_count >= MODEL_BYTES
    proxy.reset()
    reader.fetch(1)
    reader.verify(1)
    assert proxy.received_count < OVERHEAD
    assert all("manifest.json" in request for request in proxy.requests)


def test_a_fetch_that_is_killed_shows_nothing_and_the_next_goes_on(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    publish_small(author, model_files=MODEL)
    proxy.seconds_per_block = 0.03
    process = start(FETCH, URL, str(reader.path), "1")
    kill_when(process, lambda: part_bytes(reader.path) > 1_500_000)
    assert Store(reader.path).generations() == []
    assert not [path for path in (reader.models_path / "content").iterdir() if path.name.isdecimal()]
    kept = part_bytes(reader.path)
    proxy.break_off()
    proxy.reset()
    reader.fetch(1)
    rest = sum(len(content) for content in MODEL.values()) - kept
    assert proxy.received_count < MODEL_BYTES - 1_000_000
    # A file that was whole when the process was killed is no part, so this is a bound and no equality.
    assert proxy.received_count < rest + OVERHEAD
    assert Store(reader.path).verify(1)


def test_a_connection_that_breaks_is_one_line_and_the_next_fetch_goes_on(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    publish_small(author, model_files=MODEL)
    proxy.reset()
    proxy.received_limit = 2_000_000
    with pytest.raises(StoreUnreachable) as caught:
        reader.fetch(1)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(URL)
    assert Store(reader.path).generations() == []
    kept = part_bytes(reader.path)
    assert kept > 1_000_000
    proxy.reset()
    reader.fetch(1)
    assert proxy.received_count < MODEL_BYTES - kept + OVERHEAD
    assert Store(reader.path).verify(1)


def test_a_connection_that_breaks_for_a_moment_is_not_noticed(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    publish_small(author, model_files=MODEL)
    proxy.reset()
    proxy.seconds_per_block = 0.005

    def break_off() -> None:
        for _ in range(3):
            time.sleep(0.2)
            proxy.break_off()

    thread = threading.Thread(target=break_off)
    thread.start()
    reader.fetch(1)
    thread.join()
    assert Store(reader.path).verify(1)


def test_an_altered_object_is_fetched_twice_and_refused_by_name(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    publish_small(author, model_files=MODEL)
    name = "models/content/1/variables/variables.data"
    good = MODEL["variables/variables.data"]
    author.remote.write(name, good[:-1] + bytes([good[-1] ^ 1]))
    proxy.reset()
    with pytest.raises(BundleCorrupt, match=rf"^{URL}/{name}: expected sha256 \w{{12}}…, found another sum, twice$"):
        reader.fetch(1)
    asked = [request for request in proxy.requests if request.endswith(name)]
    assert len(asked) == 2 * -(-len(good) // CHUNK)
    assert Store(reader.path).generations() == []
    author.remote.write(name, good)
    reader.fetch(1)
    assert Store(reader.path).verify(1)


@pytest.mark.parametrize("size", [0, 2 * CHUNK, 2 * CHUNK + 7])
def test_an_object_that_is_short_is_refused_by_name(author: RemoteStore, reader: RemoteStore, size: int) -> None:
    publish_small(author, model_files=MODEL)
    name = "models/content/1/saved_model.pb"
    author.remote.write(name, MODEL["saved_model.pb"][:size])
    with pytest.raises(BundleCorrupt, match=rf"{name}: expected 700000 bytes, found {size} bytes"):
        reader.fetch(1)
    assert Store(reader.path).generations() == []


def test_two_processes_that_fetch_at_once_share_one_download(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    publish_small(author, model_files=MODEL)
    proxy.reset()
    proxy.seconds_per_block = 0.003
    processes = [start(FETCH, URL, str(reader.path), "1") for _ in range(2)]
    for process in processes:
        assert process.wait(60) == 0, process.communicate()[1]
        process.communicate()
    assert MODEL_BYTES < proxy.received_count < MODEL_BYTES + 2 * OVERHEAD
    assert Store(reader.path).verify(1)
    assert not list(reader.path.rglob("*.part-*"))


def test_publishing_that_is_killed_shows_nothing_and_is_gone_on_with(
    author: RemoteStore, reader: RemoteStore, proxy: ByteProxy
) -> None:
    proxy.seconds_per_block = 0.01
    process = start(PUBLISH, URL, str(author.path))
    # Four are sent at once, so three have arrived when the seventh is on its way.
    kill_when(process, lambda: sum("PUT" in request and "/piece-" in request for request in proxy.requests) >= 7)
    proxy.reset()
    assert reader.generations() == []
    with pytest.raises(StoreMissing):
        reader.current()
    there = len(RemoteFolder(URL).objects("models/content/1"))
    assert 3 <= there < len(PIECES)
    assert author.unsent() == [1]
    proxy.reset()
    author.send(1)
    assert proxy.sent_count < (len(PIECES) - there) * 400_000 + OVERHEAD
    assert sum("PUT" in request and "/piece-" in request for request in proxy.requests) == len(PIECES) - there
    author.set_current(1)
    assert reader.verify(reader.current())
    # What died was never told its number again.
    assert publish_small(author).generation == 2


def test_publishers_at_once_get_numbers_of_their_own(opened: Callable[[str], RemoteStore]) -> None:
    numbers: list[int] = []
    barrier = threading.Barrier(4)

    def publish(store: RemoteStore) -> None:
        barrier.wait()
        numbers.append(publish_small(store).generation)

    threads = [threading.Thread(target=publish, args=(opened(f"author-{i}"),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == opened("reader").generations() == [1, 2, 3, 4]


def test_a_number_that_another_publisher_took_is_refused(author: RemoteStore, reader: RemoteStore) -> None:
    def publish() -> None:
        with GenerationWriter(author) as writer:
            writer.write_items(item_ids=["a"], titles=[""], popularity=np.ones(1), attributes={})
            author.remote.write(f"claims/{writer.generation}", b"somebody else\n")
            writer.publish(FIELDS)

    with pytest.raises(StoreBusy, match="generation 1 belongs to another publisher; nothing was published"):
        publish()
    assert reader.generations() == []


@pytest.mark.parametrize("size", [0, 1000, 2 * UPLOAD_PART_BYTES - 1, 2 * UPLOAD_PART_BYTES + 5])
def test_the_servers_entity_tag_shows_that_a_file_was_sent(author: RemoteStore, tmp_path: Path, size: int) -> None:
    """Below twice the size of a part the file is one object, from there on it is sent in parts."""
    path = tmp_path / "file"
    path.write_bytes(random_bytes(size))
    author.remote.upload("somewhere/file", path)
    found = author.remote.objects("somewhere")["file"]
    assert found.byte_count == size
    assert ("-" in found.etag) == (size >= 2 * UPLOAD_PART_BYTES)
    assert has_etag(path, found.etag)
    path.write_bytes(random_bytes(size, 1) or b"x")
    assert not has_etag(path, found.etag)
    assert not has_etag(path, "")


def test_a_bucket_that_is_not_there_and_one_that_lets_nobody_in_are_named(
    proxy: ByteProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for look in (RemoteStore.current, RemoteStore.generations):
        with pytest.raises(StoreUnreachable, match=r"s3://no-such-bucket/store/.*bucket does not exist"):
            look(RemoteStore("s3://no-such-bucket/store", tmp_path / "a"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreUnreachable, match=r"CURRENT: (Unable to locate credentials|Access Denied|Forbidden)"):
        RemoteStore("s3://somebody-elses-bucket/store", tmp_path / "b").current()


def test_a_server_that_is_gone_is_one_line(author: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = RemoteStore(URL, author.path)
    with pytest.raises(StoreUnreachable, match=r"^s3://a-bucket/some/store/CURRENT: Could not connect") as caught:
        store.current()
    assert len(str(caught.value).splitlines()) == 1


def test_the_command_shows_and_moves_what_is_on_s3(
    author: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        publish_small(author)
    environment: dict[str, Any] = {**os.environ, "TWOSTAGE_CACHE": str(tmp_path / "caches")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "twostage.cli", "generations", *arguments, "--store", URL]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert run("rollback") == "generation 2 -> 1\n"
    assert author.current() == 1
    assert run("verify", "2").startswith("generation 2: ")
    assert "current" in run("list")
