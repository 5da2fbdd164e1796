"""A folder at what a remote store offers; the remote is a folder too, behind a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from tests.small_generation import publish_small
from twostage.bundle.errors import BundleCorrupt, CacheForeign, StoreMissing
from twostage.bundle.open_store import open_store
from twostage.bundle.reads import READS
from twostage.bundle.remote_store import RemoteStore
from twostage.bundle.store import Store
from twostage.generations.mirror import Mirror

pytest.importorskip("fsspec", reason="the extra store-s3 is not installed")

FILES = {
    "retrieval/content/index.faiss": b"an index",
    "retrieval/content/item_vectors.npy": b"vectors",
    "ranking/content/candidates.npy": b"a table",
    "golden/retrieval.json": b"{}",
}


class Both:
    """The store that is published to, and the folder that follows it."""

    def __init__(self, folder: Path) -> None:
        self.source = Store(folder / "source")
        self.folder = Store(folder / "copy")
        self.logger: Any = CapturingLogger()

    def publish(self) -> int:
        return publish_small(self.source, files=FILES).generation

    def mirror(self, service: str = "all", **arguments: Any) -> Mirror:
        store = open_store(self.source.path.as_uri(), cache=self.folder.path)
        assert isinstance(store, RemoteStore)
        return Mirror(store, READS[service], logger=self.logger, **arguments)

    def copied(self, number: int) -> set[str]:
        folder = self.folder.generations_path / str(number)
        files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        return {name for name in files if not name.startswith("items/") and name != "manifest.json"}

    def models(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder.path)) for path in self.folder.path.glob("models/*/[0-9]*"))


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def test_a_store_without_a_generation_leaves_the_folder_alone(both: Both) -> None:
    with pytest.raises(StoreMissing):
        both.mirror().step()
    assert not both.folder.path.exists()


def test_the_folder_becomes_a_store_of_the_current_generation_and_the_one_before(both: Both) -> None:
    for _ in range(3):
        both.publish()
    assert both.mirror().step() == 3
    assert (both.folder.generations(), both.folder.current()) == ([2, 3], 3)
    assert both.folder.verify(3) > len(FILES)
    assert both.models() == ["models/content/2", "models/content/3"]


@pytest.mark.parametrize(
    ("service", "wanted", "models"),
    [
        ("gateway", set(), []),
        (
            "retrieval",
            {"retrieval/content/index.faiss", "retrieval/content/item_vectors.npy", "golden/retrieval.json"},
            [],
        ),
        ("ranking", set(FILES) - {"retrieval/content/index.faiss"}, ["models/content/1"]),
        ("all", set(FILES), ["models/content/1"]),
    ],
)
def test_each_service_gets_what_it_reads(both: Both, service: str, wanted: set[str], models: list[str]) -> None:
    both.publish()
    both.mirror(service).step()
    assert (both.copied(1), both.models()) == (wanted, models)
    both.folder.open(verify=("items/",))


def test_a_new_generation_is_followed_and_the_oldest_removed(both: Both) -> None:
    mirror = both.mirror()
    seen = []
    for _ in range(5):
        both.publish()
        mirror.step()
        seen.append(both.folder.generations())
    assert seen == [[1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert both.models() == [f"models/content/{number}" for number in (3, 4, 5)]


def test_after_going_back_the_one_before_is_there_too(both: Both) -> None:
    for _ in range(4):
        both.publish()
    mirror = both.mirror()
    mirror.step()
    both.source.set_current(2)
    assert mirror.step() == 2
    assert both.folder.current() == 2
    assert both.folder.generations() == [1, 2, 4]


def test_a_generation_that_is_taken_back_while_it_is_copied_is_never_pointed_to(both: Both) -> None:
    pointed: list[int] = []

    @contextmanager
    def watched(number: int) -> Iterator[None]:
        if number == 2:
            both.source.set_current(1)
        if both.folder.path.exists():
            pointed.append(both.folder.pointer())
        yield None

    both.publish()
    mirror = both.mirror(watched=watched)
    mirror.step()
    both.publish()
    assert mirror.step() == 1
    assert (both.folder.current(), pointed) == (1, [1])


def test_a_damaged_generation_is_not_pointed_to_and_is_copied_once_it_is_whole(both: Both) -> None:
    both.publish()
    mirror = both.mirror()
    mirror.step()
    both.publish()
    damaged = both.source.generations_path / "2/retrieval/content/index.faiss"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"AN INDEX")
    with pytest.raises(BundleCorrupt):
        mirror.step()
    assert (both.folder.generations(), both.folder.current()) == ([1], 1)
    damaged.write_bytes(whole)
    assert mirror.step() == 2
    assert both.folder.current() == 2


def test_a_damaged_generation_before_the_current_one_is_done_without(both: Both) -> None:
    both.publish()
    both.publish()
    (both.source.generations_path / "1/retrieval/content/index.faiss").write_bytes(b"AN INDEX")
    assert both.mirror().step() == 2
    assert both.folder.generations() == [2]
    assert [call.args[0] for call in both.logger.calls if call.method_name == "warning"] == [
        "the generation before is not copied"
    ]


def test_another_store_in_the_folder_stays_untouched(both: Both) -> None:
    publish_small(both.folder)
    both.publish()
    with pytest.raises(CacheForeign):
        both.mirror().step()
    assert both.folder.generations() == [1]


def test_fewer_than_two_generations_are_refused(both: Both) -> None:
    with pytest.raises(ValueError, match="kept_count: expected 2 or more, received 1"):
        both.mirror(kept_count=1)
