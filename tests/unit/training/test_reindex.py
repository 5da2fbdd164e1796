from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import check_golden
from retrieval_service.engine.index.builder import BuiltIndex, IndexAim, build_index
from tests.bundles import RANKER, TOWER, make_store
from training.commands.index import index as index_command
from training.index_plot import plot_frontier, undominated
from training.reindex import publish_index
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import FrontierEntry, IndexEntry
from twostage.bundle.store import Store

FOLDER = f"retrieval/{TOWER}"


def some_queries(generation: Generation) -> np.ndarray:
    vectors = generation.array(f"{FOLDER}/item_vectors.npy")
    mixed = vectors[:40] + vectors[40:80]
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def built_for(generation: Generation, aim: IndexAim) -> BuiltIndex:
    vectors = generation.array(f"{FOLDER}/item_vectors.npy")
    return build_index(vectors, some_queries(generation), aim, folder=FOLDER)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", item_count=400, with_models=True)


def test_the_next_generation_differs_in_its_index_alone(store: Store) -> None:
    old = store.open()
    aim = IndexAim(at=20, families=("ivf_fp16",), shard_count=2, exact_limit=0)
    publish_index(store, old, built_for(old, aim), some_queries(old))
    new = store.open(verify=("",))

    assert new.number == old.number + 1
    index = new.manifest.tower.index
    assert (index.family, index.shard_files) == ("ivf", [f"{FOLDER}/index-0.faiss", f"{FOLDER}/index-1.faiss"])
    added = {*index.shard_files, index.row_lists, index.queries, f"{FOLDER}/frontier.png"}
    same = set(old.manifest.files) - {f"{FOLDER}/index.faiss", "golden/retrieval.json"}
    assert set(new.manifest.files) == same | added | {"golden/retrieval.json"}
    assert all(new.manifest.files[file] == old.manifest.files[file] for file in same)
    assert (store.models_path / RANKER / str(new.number) / "saved_model.pb").is_file()
    assert len(new.manifest.model_files) == len(old.manifest.model_files)
    assert (store.path / "users" / str(new.number)).is_dir()


def test_its_golden_answers_are_those_of_the_new_index(store: Store) -> None:
    old = store.open()
    publish_index(store, old, built_for(old, IndexAim(at=20, families=("ivf_pq1",), exact_limit=0)), some_queries(old))
    new = store.open()
    engine = RetrievalEngine.open(new)
    asked = check_golden(RetrievalEngine.open(old), old)
    assert check_golden(engine, new) == asked


def test_a_generation_published_aside_leaves_current_where_it_was(store: Store) -> None:
    old = store.open()
    built = built_for(old, IndexAim(at=20))
    published = publish_index(store, old, built, some_queries(old), make_current=False)
    assert store.current() == old.number
    assert published.generation == old.number + 1


def tuned(tmp_path: Path) -> Store:
    """A store whose generation holds the user vectors that an index is measured with."""
    store = make_store(tmp_path / "tuned", item_count=400)
    old = store.open()
    publish_index(store, old, built_for(old, IndexAim(at=20)), some_queries(old))
    return store


def test_tune_prints_the_frontier_draws_it_and_publishes(tmp_path: Path) -> None:
    store = tuned(tmp_path)
    picture = tmp_path / "frontier.png"
    asked = ["tune", "--store", str(store.path), "--at", "20", "--family", "ivf_fp16", "--family", "ivf_pq1"]
    result = CliRunner().invoke(index_command, [*asked, "--plot", str(picture), "--publish"])
    assert result.exit_code == 0, result.output
    assert "chosen" in result.output
    assert "recall@20" in result.output
    assert "generation 3 is current" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    entry = store.open().manifest.tower.index
    assert {point.family for point in entry.frontier} == {"ivf", "ivf_pq"}
    assert next(point for point in entry.frontier if point.chosen).recall == pytest.approx(entry.recall, abs=1e-4)


def test_tune_says_in_one_line_what_cannot_be_built(tmp_path: Path) -> None:
    store = tuned(tmp_path)
    asked = ["tune", "--store", str(store.path), "--at", "20"]
    result = CliRunner().invoke(index_command, [*asked, "--family", "ivf_fp16", "--bytes-per-item", "10"])
    assert result.exit_code == 1
    assert "bytes_per_item: expected at least 40 for SQfp16" in result.output
    result = CliRunner().invoke(index_command, [*asked, "--shards", "40"])
    assert result.exit_code == 1
    assert "shard_count: expected 1 to 6, received 40" in result.output


def test_tune_refuses_a_generation_without_user_vectors(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    result = CliRunner().invoke(index_command, ["tune", "--store", str(store.path)])
    assert result.exit_code == 1
    assert "holds no user vectors" in result.output


def point(recall: float, median_ms: float) -> FrontierEntry:
    return FrontierEntry(family="ivf", factory="F", recall=recall, median_ms=median_ms, bytes_per_item=1)


def test_the_line_goes_through_points_that_none_beats() -> None:
    points = [point(0.9, 2.0), point(0.8, 1.0), point(0.85, 2.5), point(0.95, 3.0), point(0.7, 1.0)]
    assert [(p.recall, p.median_ms) for p in undominated(points)] == [(0.8, 1.0), (0.9, 2.0), (0.95, 3.0)]


def test_nothing_measured_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frontier: expected points"):
        plot_frontier(IndexEntry(family="exact", factory="Flat", file="x"), tmp_path / "p.png")


@pytest.mark.parametrize("wrong", ["no store", "no generation"])
def test_tune_says_in_one_line_that_there_is_nothing_to_tune(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "nowhere" if wrong == "no store" else make_store(tmp_path / "store").path
    result = CliRunner().invoke(index_command, ["tune", "--store", str(path), "--generation", "99"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
