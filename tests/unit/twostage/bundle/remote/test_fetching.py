"""A remote store's copies are whole and verified, or there are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.small_generation import publish_small
from tests.unit.twostage.bundle.remote.stores import FILES, MODEL, files_below
from twostage.bundle.errors import (
    BundleCorrupt,
    CacheForeign,
    GenerationMissing,
    StoreMissing,
)
from twostage.bundle.open_store import open_store
from twostage.bundle.remote_folder import RemoteFolder
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store


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
