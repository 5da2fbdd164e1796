"""A store is published to whole or not at all, and every way to spoil it is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.small_generation import publish_small
from tests.unprivileged import run_unprivileged
from twostage.bundle.errors import BundleCorrupt, BundleUnsupported, GenerationMissing, StoreMissing
from twostage.bundle.store import Store
from twostage.bundle.writer import GenerationWriter


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    publish_small(store)
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
    publish_small(store)
    publish_small(store, make_current=False)
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
    publish_small(store)
    assert folders_of(store) == ["1", "4"], "what two writers were given is given to nobody else"


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
    publish_small(store)
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


@pytest.mark.parametrize("content", ["", "1", "1\n2\n", "-1\n", "\n", "9" * 5000 + "\n"])
def test_a_pointer_that_is_not_one_number_and_the_end_of_a_line_is_refused(store: Store, content: str) -> None:
    publish_small(store)
    (store.path / "CURRENT").write_text(content)
    with pytest.raises(BundleCorrupt, match="CURRENT: expected a generation's number"):
        store.current()


def test_a_number_is_never_given_twice(store: Store) -> None:
    publish_small(store)
    store.set_current(1)
    store.remove(2)
    assert publish_small(store).generation == 3
    with GenerationWriter(store) as writer:
        assert writer.generation == 4
    assert publish_small(store).generation == 5


def test_a_number_of_a_store_that_kept_no_claims_is_not_given_again(store: Store) -> None:
    publish_small(store)
    for claim in store.claims_path.iterdir():
        claim.unlink()
    assert publish_small(store).generation == 3
    store.set_current(1)
    store.remove(3)
    assert publish_small(store).generation == 4


def test_the_previous_generation_is_the_newest_published_one_below(store: Store) -> None:
    publish_small(store)
    publish_small(store)
    (store.generations_path / "2" / "manifest.json").unlink()
    assert store.previous(3) == 1
    assert store.previous(1) is None
    assert store.previous(9) == 3


def test_fetching_from_a_local_store_only_asks_whether_the_generation_is_there(store: Store) -> None:
    before = sorted(store.path.rglob("*"))
    store.fetch(1)
    store.fetch(1, ("items/",), models=False)
    store.evict(1)
    assert sorted(store.path.rglob("*")) == before
    with pytest.raises(GenerationMissing, match="generation 2 is not in the store; present: 1"):
        store.fetch(2)


@pytest.fixture
def publisher(store: Store) -> Iterator[None]:
    """Publishes and removes, again and again, in a process of its own."""
    script = textwrap.dedent("""
        import sys
        from tests.small_generation import publish_small
        from twostage.bundle.store import Store
        store = Store(sys.argv[1])
        while True:
            number = publish_small(store).generation
            print(number, flush=True)
            store.remove(store.previous(number))
    """)
    command = [sys.executable, "-c", script, str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "2\n"
        # Read on, or a full pipe would hold the publisher up.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        yield
        process.kill()
        reader.join()


@pytest.mark.usefixtures("publisher")
def test_readers_see_whole_generations_while_others_publish_and_remove(store: Store) -> None:
    seen: set[int] = set()
    damaged: list[int] = []
    while len(seen) < 8:
        number = store.current()
        assert number >= max(seen, default=0)
        seen.add(number)
        try:
            assert store.open(number, verify=("",)).ids.rows(["b"]).tolist() == [1]
        except (GenerationMissing, BundleCorrupt):
            # Removed while it was read: then it is gone, and nothing says otherwise.
            damaged += {number} & set(store.generations())
    assert not damaged


def test_a_store_that_may_not_be_written_is_read_and_refuses_writes_in_one_line(store: Store) -> None:
    script = """
        import sys
        from twostage.bundle.errors import StoreUnwritable
        from twostage.bundle.store import Store
        from twostage.bundle.writer import GenerationWriter
        store = Store(sys.argv[1])
        assert store.generations() == [1, 2] and store.current() == 2
        assert store.verify(store.open().number) > 1
        def write():
            with GenerationWriter(store):
                pass
        for action in (lambda: store.set_current(1), lambda: store.remove(1), write):
            try:
                action()
            except StoreUnwritable as error:
                assert "cannot be written" in str(error), error
            else:
                raise SystemExit("written")
    """
    publish_small(store)
    run_unprivileged(script, store.path)
    assert store.generations() == [1, 2]
    assert store.current() == 2
