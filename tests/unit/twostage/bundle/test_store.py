"""A store is published to whole or not at all, and every way to spoil it is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twostage.bundle.errors import BundleCorrupt, BundleUnsupported, GenerationMissing, StoreMissing
from twostage.bundle.manifest import Manifest
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter

FIELDS: dict[str, Any] = {
    "created_at": "2026-01-01T00:00:00Z",
    "item_count": 2,
    "recorded_actions": ["rated"],
    "actions": [{"name": "liked", "source": "rated", "min_value": 4.0}],
    "feature_schema": {"title": "title", "text": ["title"]},
    "attributes": {"tags": "values"},
    "towers": {
        "content": {
            "dimension": 2,
            "history_length": 50,
            "item_vectors": "retrieval/content/item_vectors.npy",
            "user_tower": "retrieval/content/user_tower.tflite",
            "index": {"family": "exact", "factory": "Flat", "file": "retrieval/content/index.faiss"},
        }
    },
    "default_tower": "content",
    "rankers": {
        "content": {
            "model": "content",
            "inputs": ["candidate_features"],
            "actions": ["liked"],
            "candidate_table": "ranking/content/candidates.npy",
            "blend": {"liked": 1.0},
        }
    },
    "default_ranker": "content",
    "source": {"name": "test", "fingerprint": "0"},
}


def publish(store: Store, *, make_current: bool = True) -> Manifest:
    with GenerationWriter(store) as writer:
        writer.write_items(
            item_ids=["a", "b"],
            titles=["A", ""],
            popularity=np.array([1.0, 3.0]),
            attributes={"tags": [["x"], []]},
        )
        model = writer.model_path("content")
        model.mkdir()
        (model / "saved_model.pb").write_bytes(b"a model")
        return writer.publish(FIELDS, make_current=make_current)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    publish(store)
    return store


def folders_of(store: Store) -> list[str]:
    return sorted(path.name for path in store.generations_path.iterdir() if path.is_dir())


def test_a_published_generation_reads_back(store: Store) -> None:
    generation = store.open(verify=("items/",))
    assert generation.number == store.current() == 1
    assert generation.ids.rows(["b", "a", "c"]).tolist() == [1, 0, -1]
    assert generation.titles.take([0, 1]) == ["A", ""]
    assert generation.popular_rows.tolist() == [1, 0]
    assert generation.attributes.describe(0, ["tags"]) == {"tags": "x"}
    assert (store.models_path / "content" / "1" / "saved_model.pb").read_bytes() == b"a model"
    assert store.verify(1) == len(generation.manifest.files) + 1


def test_generations_count_up_and_current_moves_last(store: Store) -> None:
    publish(store)
    publish(store, make_current=False)
    assert store.generations() == [1, 2, 3]
    assert store.current() == 2
    store.set_current(1)
    assert store.current() == 1
    with pytest.raises(GenerationMissing, match=r"generation 9 is not in the store; present: 1, 2, 3"):
        store.set_current(9)


def test_an_error_before_publishing_leaves_no_trace(store: Store) -> None:
    def fail() -> None:
        with GenerationWriter(store) as writer:
            writer.write_items(item_ids=["a"], titles=[""], popularity=np.ones(1), attributes={})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert folders_of(store) == ["1"]
    assert store.current() == 1


def test_what_a_killed_writer_left_is_removed_by_the_next(store: Store) -> None:
    script = textwrap.dedent("""
        import sys, time
        from twostage.bundle.store import Store
        from twostage.bundle.writer import GenerationWriter
        with GenerationWriter(Store(sys.argv[1])) as writer:
            print("writing", flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(store.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        with GenerationWriter(store) as other:
            assert other.generation == 3, "a living writer keeps its number"
        assert (store.generations_path / ".writing-2").is_dir(), "a living writer keeps its folder"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert store.generations() == [1]
    publish(store)
    assert folders_of(store) == ["1", "2"]


def test_a_store_that_is_missing_or_empty_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="no such store"):
        Store(tmp_path / "nowhere").open()
    with pytest.raises(StoreMissing, match="nothing was published"):
        Store(tmp_path).open()


def test_a_pointer_that_is_no_number_says_so(store: Store) -> None:
    (store.path / "CURRENT").write_text("latest\n")
    with pytest.raises(BundleCorrupt, match=r"CURRENT: expected a generation's number, found 'latest'"):
        store.open()


def test_a_pointer_that_is_no_file_says_so(store: Store) -> None:
    (store.path / "CURRENT").unlink()
    (store.path / "CURRENT").mkdir()
    with pytest.raises(BundleCorrupt, match=r"CURRENT: expected a file"):
        store.open()


def test_a_pointer_to_a_removed_generation_names_those_there_are(store: Store) -> None:
    publish(store)
    store.remove(1)
    assert not (store.models_path / "content" / "1").exists()
    (store.path / "CURRENT").write_text("1\n")
    with pytest.raises(GenerationMissing, match="generation 1 is not in the store; present: 2"):
        store.open()


def test_the_current_generation_is_not_removed(store: Store) -> None:
    with pytest.raises(ValueError, match="current"):
        store.remove(1)


def test_a_half_written_generation_is_no_generation(store: Store) -> None:
    (store.generations_path / "1" / "manifest.json").unlink()
    assert store.generations() == []
    with pytest.raises(BundleCorrupt, match="half-written"):
        store.current()
    with pytest.raises(BundleCorrupt, match="half-written"):
        store.open(1)


def files_of(store: Store) -> list[Path]:
    folders = (store.generations_path / "1", store.models_path)
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def test_one_flipped_byte_anywhere_is_found(store: Store) -> None:
    for path in files_of(store):
        content = path.read_bytes()
        position = len(content) // 2
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises((BundleCorrupt, BundleUnsupported)) as caught:
            store.verify(1)
        assert path.name in str(caught.value)
        path.write_bytes(content)
    store.verify(1)


def test_a_file_cut_short_or_missing_is_found(store: Store) -> None:
    for path in files_of(store):
        content = path.read_bytes()
        path.write_bytes(content[:-2])
        with pytest.raises(BundleCorrupt):
            store.verify(1)
        path.unlink()
        with pytest.raises(BundleCorrupt, match="no file"):
            store.verify(1)
        path.write_bytes(content)


def test_another_format_version_is_refused_by_name(store: Store) -> None:
    path = store.generations_path / "1" / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(BundleUnsupported, match="reads format version 1, found 2"):
        store.open()
