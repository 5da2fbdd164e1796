from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from click.testing import CliRunner

from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import Collection, collection_name, count_rows
from retrieval_service.milvus.commands import main
from retrieval_service.milvus.push import drop_earlier, index_parameters, push
from tests.bundles import make_store
from tests.unit.retrieval_service.milvus.conftest import FINGERPRINT, unit_vectors
from twostage.bundle.errors import BundleCorrupt


def test_a_push_is_idempotent(client: Any, address: MilvusAddress, collection: Collection) -> None:
    first = push(client, address, collection, replace=True, batch_rows=70)
    again = push(client, address, collection, batch_rows=70)
    assert (first.inserted_count, again.inserted_count, again.item_count) == (300, 0, 300)
    assert count_rows(client, collection.name) == 300


def test_a_push_that_was_cut_short_is_completed(client: Any, address: MilvusAddress, collection: Collection) -> None:
    push(client, address, collection, replace=True)
    client.delete(collection.name, filter="row >= 100 and row < 160")
    client.insert(collection.name, [{"row": 400, "vector": unit_vectors(1)[0]}])
    steps: list[str] = []
    done = push(client, address, collection, batch_rows=50, progress=lambda doing, *_: steps.append(doing))
    assert done.inserted_count == 100
    assert count_rows(client, collection.name) == 300
    assert steps[-1] == "verifying"


def test_a_collection_of_another_form_is_refused_unless_replaced(client: Any, address: MilvusAddress) -> None:
    push(client, address, Collection("form", unit_vectors(dimension=4)))
    wanted = Collection("form", unit_vectors(dimension=8))
    with pytest.raises(BundleCorrupt, match="expected 8 dimensions, found 4"):
        push(client, address, wanted)
    assert push(client, address, wanted, replace=True).inserted_count == 300


def test_another_generation_another_tower_or_other_vectors_have_another_collection() -> None:
    names = [
        collection_name(7, "default", FINGERPRINT),
        collection_name(8, "default", FINGERPRINT),
        collection_name(7, "other-tower", FINGERPRINT),
        collection_name(7, "default", FINGERPRINT[1:]),
        collection_name(7, "default", FINGERPRINT, prefix="books"),
    ]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.isascii() for name in names)
    assert names[0] == "twostage_g7_default_0123456789ab"


def test_earlier_generations_are_dropped_but_for_the_newest_of_them(client: Any) -> None:
    kept = [
        collection_name(9, "default", FINGERPRINT),
        collection_name(7, "default", FINGERPRINT),
        collection_name(10, "default", FINGERPRINT),
        collection_name(1, "tall", FINGERPRINT),
        collection_name(1, "default", FINGERPRINT, prefix="books"),
        "somebody_elses",
    ]
    old = [
        collection_name(2, "default", FINGERPRINT),
        collection_name(6, "default", FINGERPRINT),
        collection_name(9, "default", FINGERPRINT[3:]),
    ]
    for name in client.list_collections():
        client.drop_collection(name)
    for name in kept + old:
        client.create_collection(name, dimension=2)
    assert drop_earlier(client, Collection(kept[0], unit_vectors())) == sorted(old)
    assert sorted(client.list_collections()) == sorted(kept)


def test_an_inverted_file_has_as_many_lists_as_its_segments_can_fill() -> None:
    assert index_parameters("IVF_FLAT", 1_000_000, 128) == {"nlist": 4000}
    # A segment holds 2,097,152 vectors of 128 dimensions.
    assert index_parameters("IVF_FLAT", 100_000_000, 128) == {"nlist": 5793}
    assert index_parameters("IVF_SQ8", 390, 128) == {"nlist": 10}
    assert index_parameters("FLAT", 390, 128) == {}


def test_the_commands_push_check_and_say_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    told = ["--store", str(tmp_path / "store"), "--milvus", str(tmp_path / "milvus.db")]
    runner = CliRunner()
    missing = runner.invoke(main, ["check", *told])
    assert missing.exit_code == 1
    assert "expected a database of milvus-lite" in missing.output
    assert "IVF_FLAT" in runner.invoke(main, ["push", *told], catch_exceptions=False).output
    assert "all there already" in runner.invoke(main, ["push", *told, "--drop-old"]).output
    checked = runner.invoke(main, ["check", *told, "--at", "10", "--queries", "5"], catch_exceptions=False)
    assert "recall" in checked.output
    for wrong, complaint in [
        (["--milvus", "ftp://ann:secret@milvus"], "milvus: expected http://HOST:PORT"),
        (["--generation", "99"], "generation 99 is not in the store"),
        (["--tower", "tall"], "expected one of default"),
        (["--prefix", "1st"], "expected letters, digits and underscores"),
    ]:
        result = runner.invoke(main, ["push", *told, *wrong])
        assert result.exit_code in {1, 2}
        assert complaint in result.output
        assert "secret" not in result.output
        assert "Traceback" not in result.output


def test_the_module_has_a_help_text_and_leaves_no_traceback(tmp_path: Path) -> None:
    module = [sys.executable, "-m", "retrieval_service.milvus"]
    shown = subprocess.run([*module, "push", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(flag in shown for flag in ("--store", "--milvus", "--generation", "--replace", "--drop-old"))
