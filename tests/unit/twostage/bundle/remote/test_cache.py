"""Copies of a remote store on this machine: taken away, unreachable, on a full or a foreign disk."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import numpy as np
import pytest

from tests.small_generation import publish_small
from tests.unit.twostage.bundle.remote.stores import files_below
from tests.unprivileged import run_unprivileged
from twostage.bundle.errors import (
    BundleCorrupt,
    StoreUnreachable,
    StoreUnwritable,
)
from twostage.bundle.histories import histories_folder, read_histories, write_histories
from twostage.bundle.open_store import open_store
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store


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
