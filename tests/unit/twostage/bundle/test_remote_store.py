"""A remote store's copies are whole and verified, and what it publishes is seen whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_generation import FIELDS, publish_small
from tests.unprivileged import run_unprivileged
from twostage.bundle.errors import (
    BundleCorrupt,
    CacheForeign,
    GenerationMissing,
    StoreBusy,
    StoreMissing,
    StoreUnreachable,
    StoreUnwritable,
)
from twostage.bundle.histories import histories_folder, read_histories, write_histories
from twostage.bundle.open_store import open_store
from twostage.bundle.remote_folder import RemoteFolder
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter

pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")

MODEL = {"saved_model.pb": b"a model", "variables/variables.index": b"i" * 3000}
FILES = {"retrieval/content/item_vectors.npy": bytes(range(256)) * 40}


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid.uuid4().hex}/store" if request.param == "memory" else f"file://{tmp_path}/remote"


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Callable[[str], RemoteStore]:
    """Opens the store with a cache of the given name."""

    def open_(cache: str) -> RemoteStore:
        store = open_store(url, cache=tmp_path / cache)
        assert isinstance(store, RemoteStore)
        return store

    return open_


@pytest.fixture
def author(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    """Who has published generation 1."""
    store = opened("author")
    publish_small(store, files=FILES, model_files=MODEL)
    return store


@pytest.fixture
def reader(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    return opened("reader")


def files_below(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def test_a_published_generation_is_fetched_and_reads_back(author: RemoteStore, reader: RemoteStore) -> None:
    assert reader.current() == 1
    assert reader.generations() == [1]
    reader.fetch(1)
    generation = Store(reader.path).open(1, verify=("",))
    assert generation.ids.rows(["b", "a"]).tolist() == [1, 0]
    assert (reader.models_path / "content" / "1" / "saved_model.pb").read_bytes() == b"a model"
    assert reader.verify(1) == Store(author.path).verify(1)


def test_nothing_is_written_before_something_is_fetched(author: RemoteStore, reader: RemoteStore) -> None:
    assert author.generations() == reader.generations()
    assert reader.manifest(1).item_count == reader.manifest(reader.current()).item_count == 2
    assert not reader.path.exists()


def test_only_what_is_asked_for_is_fetched(author: RemoteStore, reader: RemoteStore) -> None:
    reader.fetch(1, ("items/titles", "retrieval/"), models=False)
    fetched = files_below(reader.generations_path / "1")
    assert fetched == {
        "manifest.json",
        "items/titles.blob.npy",
        "items/titles.offsets.npy",
        "retrieval/content/item_vectors.npy",
    }
    assert not reader.models_path.exists()
    reader.fetch(1, ())
    assert files_below(reader.models_path) == {f"content/1/{name}" for name in MODEL}
    assert files_below(reader.generations_path / "1") == fetched


def test_opening_fetches_what_is_verified(author: RemoteStore, reader: RemoteStore) -> None:
    generation = reader.open(verify=("items/",))
    assert generation.number == author.current()
    assert generation.titles.take([0]) == ["A"]
    assert not (reader.generations_path / "1" / "retrieval").exists()


def test_current_moves_for_all_readers_at_once_and_only_to_what_is_published(
    author: RemoteStore, reader: RemoteStore
) -> None:
    assert reader.current() == 1
    publish_small(author, make_current=False)
    assert reader.generations() == [1, 2]
    assert (reader.current(), reader.previous(2), reader.previous(1)) == (1, 1, None)
    reader.set_current(2)
    assert author.current() == 2
    with pytest.raises(GenerationMissing, match="generation 3 is not in the store; present: 1, 2"):
        author.set_current(3)


def test_an_empty_store_and_an_absent_generation_say_so(reader: RemoteStore) -> None:
    with pytest.raises(StoreMissing, match="nothing was published"):
        reader.current()
    assert reader.generations() == []
    with pytest.raises(GenerationMissing, match="generation 4 is not in the store; present: none"):
        reader.fetch(4)


@pytest.mark.parametrize("content", [b"", b"1", b"latest\n", b"\xff\n"])
def test_a_pointer_that_is_no_number_says_so(author: RemoteStore, reader: RemoteStore, content: bytes) -> None:
    author.remote.write("CURRENT", content)
    with pytest.raises(BundleCorrupt, match="CURRENT: expected a generation's number"):
        reader.current()


def test_a_pointer_to_nothing_names_what_there_is(author: RemoteStore, reader: RemoteStore) -> None:
    author.remote.write("CURRENT", b"7\n")
    with pytest.raises(GenerationMissing, match="generation 7 is not in the store; present: 1"):
        reader.current()


def test_an_altered_object_is_refused_and_nothing_of_the_generation_is_seen(
    author: RemoteStore, reader: RemoteStore
) -> None:
    name = "models/content/1/variables/variables.index"
    good = author.remote.read(name)
    author.remote.write(name, b"x" + good[1:])
    with pytest.raises(BundleCorrupt, match=r"models/content/1/variables/variables\.index: expected sha256"):
        reader.fetch(1)
    assert Store(reader.path).generations() == []
    assert not (reader.models_path / "content" / "1").exists()
    author.remote.write(name, good)
    reader.fetch(1)
    assert Store(reader.path).verify(1)


@pytest.mark.parametrize("change", ["short", "absent"])
def test_a_short_or_absent_object_is_refused_by_name(author: RemoteStore, reader: RemoteStore, change: str) -> None:
    name = "generations/1/retrieval/content/item_vectors.npy"
    if change == "short":
        author.remote.write(name, author.remote.read(name)[:-5])
    else:
        author.remote.remove(name)
    found = "10235 bytes" if change == "short" else "no file"
    with pytest.raises(BundleCorrupt, match=rf"item_vectors\.npy: .*10240 bytes, found {found}"):
        reader.fetch(1)
    assert Store(reader.path).generations() == []


def test_a_damaged_part_of_an_earlier_try_is_fetched_anew(author: RemoteStore, reader: RemoteStore) -> None:
    entry = author.manifest(1).files["retrieval/content/item_vectors.npy"]
    path = reader.generations_path / "1" / "retrieval" / "content" / "item_vectors.npy"
    path.parent.mkdir(parents=True)
    (reader.path / ".copy-of").write_text(f"{reader.location}\n")
    part = path.with_name(f"{path.name}.part-{entry.sha256[:12]}")
    for content in (b"wrong", b"wrong" * 5000):
        part.write_bytes(content)
        reader.fetch(1, ("retrieval/",), models=False)
        assert path.read_bytes() == FILES["retrieval/content/item_vectors.npy"]
        assert not part.exists()
        path.unlink()


def test_a_damaged_or_lost_copy_is_replaced(author: RemoteStore, reader: RemoteStore) -> None:
    reader.fetch(1)
    copies = [
        reader.generations_path / "1" / "items" / "popularity.npy",
        reader.models_path / "content/1/saved_model.pb",
    ]
    for copy in copies:
        good = copy.read_bytes()
        copy.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        reader.verify(1)
        assert copy.read_bytes() == good
        copy.unlink()
        reader.fetch(1)
        assert copy.read_bytes() == good


def test_a_model_is_seen_only_when_it_is_whole(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    read = RemoteFolder.read

    def reading(folder: RemoteFolder, name: str, start: int = 0, end: int | None = None) -> bytes:
        versions = reader.models_path / "content"
        seen.append(
            {child.name for child in versions.iterdir() if child.name.isdecimal()} if versions.is_dir() else set()
        )
        return read(folder, name, start, end)

    monkeypatch.setattr(RemoteFolder, "read", reading)
    reader.fetch(1)
    assert len(seen) > len(MODEL)
    assert set().union(*seen) == set()
    assert files_below(reader.models_path / "content") == {f"1/{name}" for name in MODEL}


def test_progress_ends_at_the_size_of_what_was_wanted(author: RemoteStore, reader: RemoteStore) -> None:
    manifest = author.manifest(1)
    total = sum(entry.byte_count for entry in [*manifest.files.values(), *manifest.model_files.values()])
    for _ in range(2):
        told: list[tuple[int, int]] = []
        reader.fetch(1, watch=lambda done, all_, told=told: told.append((done, all_)))  # type: ignore[misc]
        assert told[0] == (0, total)
        assert told[-1] == (total, total)
        assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("files", "../../outside"),
        ("files", "/outside"),
        ("files", "out\0side"),
        ("files", "a//b"),
        ("model_files", "models/content/2/saved_model.pb"),
        ("model_files", "generations/1/items/x"),
        ("model_files", "models/content/1"),
        ("model_files", "models/../../1/x"),
    ],
)
def test_a_manifest_whose_files_leave_their_folders_is_refused(
    author: RemoteStore, reader: RemoteStore, part: str, name: str
) -> None:
    forge(author, **{part: {name: {"sha256": "0" * 64, "byte_count": 1}}})
    with pytest.raises(BundleCorrupt, match=r"expected (files inside|models' files)"):
        reader.fetch(1)
    assert files_below(reader.path.parent / "reader") == set()


def forge(author: RemoteStore, **changes: Any) -> None:
    """Replaces the published manifest by an altered one with a right checksum."""
    from twostage.bundle.manifest import _checksum  # noqa: PLC0415 - what a forger would do

    document = json.loads(author.remote.read("generations/1/manifest.json")) | changes
    document["checksum"] = _checksum(document)
    author.remote.write("generations/1/manifest.json", json.dumps(document).encode())


def test_a_manifest_of_another_number_is_refused(author: RemoteStore, reader: RemoteStore) -> None:
    forge(author, generation=2, model_files={})
    with pytest.raises(BundleCorrupt, match="expected generation 1, found 2"):
        reader.fetch(1)


def test_a_store_made_anew_is_not_mixed_with_old_copies(
    author: RemoteStore, reader: RemoteStore, opened: Callable[[str], RemoteStore]
) -> None:
    reader.fetch(1)
    for name in ("generations", "models", "claims", "CURRENT"):
        author.remote.remove(name)
    publish_small(opened("second author"), model_files={"saved_model.pb": b"another"})
    with pytest.raises(CacheForeign, match=r"expected a copy of generation 1 of .*found another one"):
        reader.fetch(1)


def test_a_cache_serves_one_store(author: RemoteStore, reader: RemoteStore, tmp_path: Path) -> None:
    reader.fetch(1)
    with pytest.raises(CacheForeign, match="expected copies of memory://elsewhere/store, found those of"):
        open_store("memory://elsewhere/store", cache=reader.path)
    local = Store(tmp_path / "local")
    publish_small(local)
    with pytest.raises(CacheForeign, match="found a store"):
        open_store(author.location, cache=local.path).fetch(1)


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


def test_evicting_takes_the_copy_alone(author: RemoteStore, reader: RemoteStore) -> None:
    reader.fetch(1)
    generation = reader.open(1)
    titles = generation.titles
    reader.evict(1)
    assert files_below(reader.generations_path) == files_below(reader.models_path) == set()
    assert titles.take([0]) == ["A"], "what is mapped stays"
    assert author.generations() == [1]
    reader.fetch(1)
    assert Store(reader.path).verify(1)


def test_histories_come_whole_or_not_at_all(author: RemoteStore, reader: RemoteStore) -> None:
    author.send_histories(1)
    reader.fetch_histories(1)
    assert not histories_folder(reader, 1).exists()
    write_histories(
        histories_folder(author, 1),
        user_ids=["u"],
        item_ids=["a", "b"],
        recorded_actions=["rated"],
        offsets=np.array([0, 2]),
        rows=np.array([1, 0]),
        actions=np.array([0, 0]),
        values=np.array([5.0, 3.0]),
        times=None,
    )
    author.send_histories(1)
    author.remote.write("users/1/rows.npy", b"altered")
    with pytest.raises(BundleCorrupt, match=r"users/1/rows\.npy"):
        reader.fetch_histories(1)
    assert not histories_folder(reader, 1).exists()
    author.send_histories(1)
    reader.fetch_histories(1)
    (person,) = read_histories(histories_folder(reader, 1))
    assert (person.user_id, person.item_ids, person.values) == ("u", ["b", "a"], [5.0, 3.0])


def test_a_store_that_does_not_answer_is_named_and_copies_serve(
    author: RemoteStore, reader: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.fetch(1, ("items/",))

    def gone(*_: object, **__: object) -> bytes:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(reader.remote._system, "cat_file", gone)
    monkeypatch.setattr(reader.remote._system, "info", gone)
    with pytest.raises(StoreUnreachable, match=r"^.*/CURRENT: no route to host$"):
        reader.current()
    reader.fetch(1, ("items/",))
    with pytest.raises(StoreUnreachable, match=r"item_vectors\.npy: no route to host"):
        reader.fetch(1)
    with pytest.raises(StoreUnreachable):
        reader.fetch(2)


def test_a_full_disk_is_one_line_and_a_later_fetch_goes_on(tmp_path: Path) -> None:
    author = open_store(f"file://{tmp_path}/remote", cache=tmp_path / "author")
    publish_small(author, model_files={"saved_model.pb": bytes(300_000)})
    script = """
        import resource, signal, sys
        from pathlib import Path
        from twostage.bundle.errors import StoreUnwritable
        from twostage.bundle.remote_store import RemoteStore
        # No file may grow past this, as on a disk that is full, of which the system tells by the same means.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            RemoteStore(sys.argv[1], Path(sys.argv[2]), chunk_bytes=65536).fetch(1)
        except StoreUnwritable as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), author.location, str(tmp_path / "reader")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("saved_model.pb: cannot be written: File too large\n"), done.stdout
    assert Store(tmp_path / "reader").generations() == []
    assert not (tmp_path / "reader/models/content/1").exists()
    reader = open_store(author.location, cache=tmp_path / "reader")
    (part,) = (tmp_path / "reader").rglob("saved_model.pb.part-*")
    assert 130_000 < part.stat().st_size <= 200_000
    reader.fetch(1)
    assert Store(tmp_path / "reader").verify(1)


def test_a_cache_that_may_not_be_written_is_read(tmp_path: Path) -> None:
    author = open_store(f"file://{tmp_path}/remote", cache=tmp_path / "author")
    publish_small(author)
    publish_small(author)
    reader = open_store(author.location, cache=tmp_path / "reader")
    reader.fetch(1)
    script = """
        import sys
        from pathlib import Path
        from twostage.bundle.errors import StoreUnwritable
        from twostage.bundle.open_store import open_store
        store = open_store(sys.argv[2], cache=Path(sys.argv[1]))
        store.fetch(1)
        assert store.open(1, verify=("",)).item_count == 2
        try:
            store.fetch(2)
        except StoreUnwritable as error:
            assert "cannot be written: Permission denied" in str(error), error
        else:
            raise SystemExit("written")
    """
    run_unprivileged(script, reader.path, author.location)


def test_what_is_not_a_folder_for_a_cache_is_one_line(author: RemoteStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="file/cache: cannot be written: Not a directory"):
        open_store(author.location, cache=tmp_path / "file" / "cache").fetch(1)


@pytest.mark.parametrize(("prefix", "other"), [("a*", "ab"), ("a?c", "abc"), ("s[1]", "s1")])
def test_a_prefix_that_looks_like_a_pattern_is_taken_as_it_is(prefix: str, other: str, tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    stores = [open_store(f"{root}/{name}", cache=tmp_path / name) for name in (prefix, other)]
    for store in stores:
        for _ in range(2):
            publish_small(store)
    stores[0].remove(1)
    assert [store.generations() for store in stores] == [[2], [1, 2]]
    assert isinstance(stores[0], RemoteStore)
    assert not stores[0].remote.objects("generations/1") | stores[0].remote.objects("models/content/1")
    assert open_store(f"{root}/{other}", cache=tmp_path / "reader").verify(1)
