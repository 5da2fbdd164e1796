"""Stores on S3: processes that are killed, connections that break, objects that are damaged, servers that are gone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.integration.byte_proxy import ByteProxy
from tests.integration.object_store.bucket import CHUNK, MODEL, MODEL_BYTES, OVERHEAD, PIECES, URL
from tests.integration.object_store.processes import FETCH, PUBLISH, kill_when, part_bytes, start
from tests.small_generation import publish_small
from twostage.bundle.errors import BundleCorrupt, StoreMissing, StoreUnreachable
from twostage.bundle.remote_folder import RemoteFolder
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store


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
