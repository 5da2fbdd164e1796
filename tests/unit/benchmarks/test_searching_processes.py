from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from benchmarks.retrieval.saved_index import build_figures, ensure_built
from benchmarks.retrieval.told_process import SearcherProcess
from benchmarks.retrieval.vector_folder import VectorFolder

AT = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors")
    random = np.random.default_rng(0)
    for name, count in (("vectors", 1_500), ("queries", 40)):
        vectors = random.normal(size=(count, 16)).astype(np.float32)
        np.save(path / f"{name}.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return path


@pytest.fixture(scope="module")
def searcher(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearcherProcess]:
    work = tmp_path_factory.mktemp("work")
    ensure_built(folder, work / "index", at=AT, recall_target=0.95, families=("ivf_pq1",))
    VectorFolder.open(folder).write_task(work / "task", AT)
    arguments = ["--vectors", str(folder), "--task", str(work / "task"), "--at", str(AT)]
    arguments += ["--index", str(work / "index"), "--whole-frontier"]
    with SearcherProcess("ours", "benchmarks.retrieval.ours", arguments) as process:
        yield process


def test_an_exact_index_finds_everything(searcher: SearcherProcess) -> None:
    # So few items are searched exactly.
    assert searcher.ask(do="recall", point=0)["recall"] == pytest.approx(1.0)


def test_times_and_memory_are_told(searcher: SearcherProcess) -> None:
    answer = searcher.ask(do="time", point=0, searches=10, first=3)
    assert 0 < answer["median_ms"] < 1_000
    memory = searcher.ask(do="memory")
    assert memory["bytes"] >= memory["bytes_before"] > 0


def test_the_nearest_that_recall_is_held_against_are_those_of_brute_force(folder: Path, tmp_path: Path) -> None:
    opened = VectorFolder.open(folder)
    opened.write_task(tmp_path, AT)
    nearest = np.load(tmp_path / "nearest.npy")
    expected = np.argsort(-(opened.held_out_queries @ opened.vectors.T), axis=1)[:, :AT]
    assert [set(rows) for rows in nearest.tolist()] == [set(rows) for rows in expected.tolist()]


def test_held_out_queries_choose_no_index(folder: Path) -> None:
    opened = VectorFolder.open(folder)
    told = {row.tobytes() for row in opened.tuning_queries}
    assert len(opened.held_out_queries) == 20
    assert not any(row.tobytes() in told for row in opened.held_out_queries)


def test_an_index_for_another_recall_is_refused(folder: Path, tmp_path: Path) -> None:
    ensure_built(folder, tmp_path, at=AT, recall_target=0.95, families=("ivf_pq1",))
    assert build_figures(tmp_path).peak_resident_bytes > build_figures(tmp_path).peak_anonymous_bytes
    with pytest.raises(click.ClickException, match=r"expected an index chosen for recall 0\.5"):
        ensure_built(folder, tmp_path, at=AT, recall_target=0.5, families=("ivf_pq1",))


def test_a_process_that_ends_says_its_last_words(folder: Path, tmp_path: Path) -> None:
    arguments = ["--vectors", str(folder), "--task", str(tmp_path), "--at", "5", "--index", str(tmp_path / "none")]
    with (
        pytest.raises(click.ClickException, match=r"ours ended with 1: .*entry\.json"),
        SearcherProcess("ours", "benchmarks.retrieval.ours", arguments),
    ):
        pass


def test_what_libraries_print_is_no_answer() -> None:
    program = (
        "import os\nfrom benchmarks.retrieval.searcher import private_output\n"
        "answers = private_output()\nprint('chatter', flush=True)\nos.system('echo more')\n"
        "answers.write('{\"ready\": true}')\nanswers.flush()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"ready": True}
    assert done.stderr.split() == ["chatter", "more"]
