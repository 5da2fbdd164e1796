"""How the ranking service starts, and why it does not."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bundles import make_store
from tests.integration.ranking.asking import rank_request
from tests.integration.ranking.processes import ENVIRONMENT, ModelServerProcess, Start
from tests.integration.ranking.reference import ITEM_COUNT, add_golden
from tests.ports import free_port
from twostage.bundle.manifest import RowsEntry, read_manifest, write_manifest
from twostage.bundle.store import Store
from twostage.features.model_inputs import ROW_INPUTS


def test_no_tensorflow_is_in_the_process_that_serves(store: Store, model_server: ModelServerProcess) -> None:
    program = """
import sys
import structlog
from ranking_service.server import build
from ranking_service.settings import RankingSettings
settings = RankingSettings(store=sys.argv[1], model_server=sys.argv[2], port=0, metrics_port=0)
server, prepare = build(settings, structlog.get_logger())
prepare()
heavy = {"tensorflow", "keras", "tensorflow_serving", "faiss", "ai_edge_litert", "scipy", "pyarrow"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
server.stop(0)
"""
    command = [sys.executable, "-c", program, str(store.path), model_server.address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_model_server_that_never_comes_ends_the_start_with_one_line(store: Store, start: Start) -> None:
    address = f"127.0.0.1:{free_port()}"
    line = start(store.path, address, "--port", "0", "--model-server-wait-seconds", "0.3").failed_start()
    assert line.startswith(f"ranking: error: model server at {address} does not answer")
    assert "waited 0.3 s (model_server_wait_seconds)" in line


def test_a_model_server_without_the_pinned_generations_version_ends_the_start(
    copy: Store, model_server: ModelServerProcess, start: Start
) -> None:
    make_store(copy.path, item_count=ITEM_COUNT, with_models=True)  # generation 2, unknown to the model server
    flags = ("--port", "0", "--model-server-wait-seconds", "0.3", "--generation", "2")
    line = start(copy.path, model_server.address, *flags).failed_start()
    assert "model default version 2" in line


def test_where_the_model_server_lacks_what_is_current_the_one_before_is_served_and_the_status_says_so(
    copy: Store, model_server: ModelServerProcess, start: Start
) -> None:
    make_store(copy.path, item_count=ITEM_COUNT, with_models=True)
    service = start(copy.path, model_server.address, "--port", "0", "--model-server-wait-seconds", "0.3")
    service.wait_serving()
    status = service.status()
    assert [(held.generation, held.active) for held in status.generations] == [(1, True)]
    ((number, reason),) = [(refusal.generation, refusal.reason) for refusal in status.refused]
    assert number == 2
    assert "model default version 2" in reason
    assert len(service.rank(rank_request()).items) == 10


def test_a_generation_without_golden_rankings_serves_and_the_log_says_so(
    store: Store, model_server: ModelServerProcess, start: Start, tmp_path: Path
) -> None:
    plain = make_store(tmp_path / "plain", item_count=ITEM_COUNT)
    service = start(plain.path, model_server.address, "--port", "0")
    service.wait_serving()
    assert len(service.rank(rank_request()).items) == 10
    service.process.terminate()
    service.process.wait(10)
    deadline = time.monotonic() + 5
    while not any("no golden rankings" in line for line in service.log) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any("no golden rankings" in line for line in service.log)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_one_flipped_byte_ends_the_start_and_names_the_file(copy: Store, start: Start) -> None:
    _flip(copy.generations_path / "1" / "ranking/default/candidates.npy")
    line = start(copy.path, "127.0.0.1:1", "--port", "0").failed_start()
    assert "ranking/default/candidates.npy: expected sha256" in line


def test_a_model_that_answers_otherwise_than_published_does_not_serve(
    copy: Store, model_server: ModelServerProcess, start: Start
) -> None:
    add_golden(copy.generations_path / "1", offset=0.01)
    line = start(copy.path, model_server.address, "--port", "0").failed_start()
    assert "golden ranking 1 of 1, generation 1: expected score" in line


@pytest.mark.parametrize(
    ("signature", "said"),
    [("by_row", '"by_row" not found'), ("serving_default", "does not match signature")],
    ids=["that the model lacks", "that reads features"],
)
def test_a_signature_of_rows_that_is_none_ends_the_start_and_is_named(
    copy: Store, model_server: ModelServerProcess, start: Start, signature: str, said: str
) -> None:
    path = copy.generations_path / "1"
    manifest = read_manifest(path)
    entry = manifest.ranker.model_copy(update={"by_row": RowsEntry(signature=signature, inputs=list(ROW_INPUTS))})
    write_manifest(path, manifest.model_copy(update={"rankers": {manifest.default_ranker: entry}}))
    line = start(copy.path, model_server.address, "--port", "0").failed_start()
    assert f"model default version 1: expected signature {signature} with inputs history_codes" in line
    assert said in line


def test_a_store_that_is_missing_empty_or_half_written_is_named(copy: Store, start: Start, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (copy.generations_path / "1" / "manifest.json").unlink()
    processes = {
        "no such store": start(tmp_path / "nowhere", "127.0.0.1:1", "--port", "0"),
        "the store is empty": start(empty, "127.0.0.1:1", "--port", "0"),
        "manifest.json: expected a manifest": start(copy.path, "127.0.0.1:1", "--port", "0"),
    }
    for expected, process in processes.items():
        assert expected in process.failed_start()


def test_a_port_in_use_is_named(store: Store, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = start(store.path, "127.0.0.1:1", "--port", str(port)).failed_start()
    assert f"127.0.0.1:{port}" in line
