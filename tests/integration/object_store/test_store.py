"""Stores on S3, over HTTP to a real server of its protocol."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.byte_proxy import ByteProxy
from tests.integration.object_store.bucket import BUCKET, MODEL, MODEL_BYTES, OVERHEAD, URL, random_bytes
from tests.integration.object_store.processes import FETCH, start
from tests.small_generation import FIELDS, publish_small
from twostage.bundle.errors import GenerationMissing, StoreBusy, StoreMissing
from twostage.bundle.remote_folder import UPLOAD_PART_BYTES
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store
from twostage.bundle.upload import has_etag
from twostage.bundle.writer import GenerationWriter


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
