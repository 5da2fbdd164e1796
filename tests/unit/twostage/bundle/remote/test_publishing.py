"""What a remote store publishes is seen whole or not at all, under a number of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.small_generation import FIELDS, publish_small
from tests.unit.twostage.bundle.remote.stores import MODEL, files_below
from twostage.bundle.errors import (
    BundleCorrupt,
    GenerationMissing,
    StoreBusy,
    StoreUnreachable,
)
from twostage.bundle.remote_folder import RemoteFolder
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter


def test_a_number_is_never_given_twice(author: RemoteStore, reader: RemoteStore) -> None:
    assert publish_small(reader).generation == 2
    reader.set_current(1)
    author.remove(2)
    assert reader.generations() == [1]
    with GenerationWriter(author) as writer:
        assert writer.generation == 3
    assert publish_small(reader).generation == 4


def test_writers_at_once_get_numbers_of_their_own(opened: Callable[[str], RemoteStore]) -> None:
    numbers: list[int] = []
    start = threading.Barrier(6)

    def publish(store: RemoteStore) -> None:
        start.wait()
        numbers.append(publish_small(store).generation)

    threads = [threading.Thread(target=publish, args=(opened(f"author-{i}"),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert opened("reader").generations() == [1, 2, 3, 4, 5, 6]


def test_a_publisher_whose_number_was_taken_is_refused_and_publishes_nothing(
    author: RemoteStore, reader: RemoteStore
) -> None:
    def publish() -> None:
        with GenerationWriter(author) as writer:
            writer.write_items(item_ids=["a"], titles=[""], popularity=np.ones(1), attributes={})
            # What a file system does that makes no objects conditionally: the later of two writes stays.
            author.remote.write("claims/2", b"somebody else\n")
            writer.publish(FIELDS)

    with pytest.raises(StoreBusy, match="generation 2 belongs to another publisher"):
        publish()
    assert reader.generations() == [1]
    assert reader.current() == 1
    assert author.unsent() == []
    assert Store(author.path).generations() == [1], "what nobody can fetch is no copy"


def test_a_publisher_whose_number_is_taken_while_it_uploads_is_refused(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = RemoteFolder.upload

    def take(folder: RemoteFolder, name: str, path: Path) -> None:
        folder.write("claims/2", b"somebody else\n")
        upload(folder, name, path)

    monkeypatch.setattr(RemoteFolder, "upload", take)
    with pytest.raises(StoreBusy, match="generation 2 belongs to another publisher; nothing was published"):
        publish_small(author)
    assert reader.generations() == [1]


def test_a_number_that_was_given_since_the_look_at_the_claims_is_passed_over(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_small(author)
    names = RemoteFolder.names
    # What a look sees that is over before the others made their claims.
    monkeypatch.setattr(
        RemoteFolder,
        "names",
        lambda folder, name: [] if name == "claims" else [n for n in names(folder, name) if n < "2"],
    )
    with GenerationWriter(reader) as writer:
        assert writer.generation == 3


def test_a_generation_that_another_published_meanwhile_is_not_replaced(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b'{"generation": 2}'
    monkeypatch.setattr(RemoteFolder, "upload", lambda folder, *_: folder.write("generations/2/manifest.json", other))
    with pytest.raises(StoreBusy, match="generation 2 was published by another process"):
        publish_small(author)
    assert reader.remote.read("generations/2/manifest.json") == other


class Broken(Exception):
    """The network is gone."""


def test_sending_that_breaks_off_shows_nothing_and_goes_on(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = RemoteFolder.upload
    sent: list[str] = []

    def break_off(folder: RemoteFolder, name: str, path: Path) -> None:
        if len(sent) >= 3:
            raise StoreUnreachable(name, Broken("gone"))
        sent.append(name)
        upload(folder, name, path)

    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "upload", break_off)
        with pytest.raises(StoreUnreachable, match="gone"):
            publish_small(author, model_files=MODEL)
    assert reader.generations() == [1]
    assert reader.current() == 1
    assert author.unsent() == [2]
    author.send(2)
    assert author.unsent() == []
    assert reader.generations() == [1, 2]
    assert reader.verify(2) == len(author.manifest(2).files) + len(MODEL)
    author.send(2)


def test_a_file_that_was_damaged_before_it_was_sent_is_named_and_not_published(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "create", lambda *_: (_ for _ in ()).throw(StoreUnreachable("a", "b")))
        with pytest.raises(StoreUnreachable), GenerationWriter(author):
            pass
    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "upload", lambda *_: (_ for _ in ()).throw(StoreUnreachable("a", "b")))
        with pytest.raises(StoreUnreachable):
            publish_small(author)
    (number,) = author.unsent()
    (author.models_path / "content" / str(number) / "saved_model.pb").write_bytes(b"b model")
    with pytest.raises(BundleCorrupt, match=r"saved_model\.pb: expected sha256"):
        author.send(number)
    assert reader.generations() == [1]


def test_only_who_wrote_a_generation_sends_it(author: RemoteStore, reader: RemoteStore) -> None:
    reader.fetch(1)
    reader.send(1)
    author.remote.remove("generations/1/manifest.json")
    with pytest.raises(StoreBusy, match="was not written here"):
        reader.send(1)
    with pytest.raises(GenerationMissing):
        reader.send(2)


def test_removing_takes_objects_and_copies_but_not_the_current_one(author: RemoteStore, reader: RemoteStore) -> None:
    publish_small(author)
    reader.fetch(1)
    with pytest.raises(ValueError, match="current"):
        reader.remove(2)
    reader.remove(1)
    assert author.generations() == [2]
    assert not [name for name in author.remote.objects("") if "/1/" in name]
    assert files_below(reader.generations_path) == files_below(reader.models_path) == set()
    with pytest.raises(GenerationMissing):
        author.remove(1)
