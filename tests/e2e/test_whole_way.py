"""From nothing to a recommendation by the command line alone, as a person goes; and what happens when things die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import Up, answered, twostage
from twostage.bundle.histories import known_people
from twostage.bundle.store import Store
from twostage.client import Client
from twostage.v1 import gateway_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def up(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(store, tmp_path_factory.mktemp("users") / "users.sqlite")
    try:
        running.wait(lambda: "Ready." in running.printed, 120)
        yield running
    finally:
        if running.process.poll() is None:
            assert running.stop() == 0, running.printed


def test_a_trained_store_is_listed_and_verified(store: Store) -> None:
    listed = answered("generations", "list", "--store", str(store.path))
    assert "current" in listed
    assert "files as summed" in answered("generations", "verify", "--store", str(store.path))


def test_a_flipped_byte_is_named_and_nothing_is_served(store: Store, tmp_path: Path) -> None:
    spoilt = store.generations_path / "1" / "retrieval" / "content" / "item_vectors.npy"
    content = spoilt.read_bytes()
    spoilt.write_bytes(content[:-5] + bytes([content[-5] ^ 64]) + content[-4:])
    try:
        done = twostage("generations", "verify", "--store", str(store.path))
        assert done.returncode == 1
        assert "item_vectors.npy" in done.stderr
        refused = Up(store, tmp_path / "users.sqlite")
        assert refused.process.wait(timeout=60) == 1
        refused._reader.join(timeout=5)
        assert "item_vectors.npy" in refused.printed
    finally:
        spoilt.write_bytes(content)


def test_a_known_person_gets_twenty_unseen_items_from_both_stages(up: Up, store: Store) -> None:
    (person,) = known_people(store, limit=1, least_count=8)
    answer = up.recommend("--user", person.user_id)
    ids = [item["item_id"] for item in answer["recommendations"]]
    assert len(ids) == len(set(ids)) == 20
    assert not set(ids) & set(person.item_ids), "what was seen is not recommended"
    assert answer["rung"] == "RUNG_FULL"
    assert answer["generation"] == "1"
    scores = [item["score"] for item in answer["recommendations"]]
    assert scores == sorted(scores, reverse=True)
    assert all(item["title"] and item["action_scores"] for item in answer["recommendations"])
    stages = {timing["stage"] for timing in answer["timings"]}
    assert {"retrieval", "ranking", "ranking.model_server"} <= stages


def test_different_tastes_get_different_answers(up: Up, store: Store) -> None:
    people = known_people(store, limit=6, least_count=8)
    answers = {tuple(i["item_id"] for i in up.recommend("--user", p.user_id)["recommendations"]) for p in people}
    assert len(answers) == 6


def test_a_wrong_count_is_refused_by_name(up: Up) -> None:
    for count in ("0", "-3", "201", "2000000000"):
        done = twostage("recommend", "--address", up.address, "--count", count)
        assert done.returncode == 1
        assert re.search(rf"count: expected .*200, received {count}", done.stderr), done.stderr


def test_serving_processes_hold_no_tensorflow(up: Up) -> None:
    for name in ("retrieval", "ranking", "gateway"):
        maps = Path(f"/proc/{up.pid(name)}/maps")
        if not maps.exists():
            pytest.skip("no /proc on this system")
        assert "tensorflow" not in maps.read_text(encoding="utf-8")


def test_a_port_in_use_is_named_and_leaves_the_others_alone(up: Up, store: Store, tmp_path: Path) -> None:
    done = twostage(*up.arguments[:3], "--users", str(tmp_path / "users.sqlite"), *up.arguments[5:])
    assert done.returncode == 1
    assert re.search(r"in use|address already", done.stderr, re.IGNORECASE), done.stderr
    assert up.rung() == "RUNG_FULL"


def test_status_and_load_say_that_all_is_well(up: Up, store: Store) -> None:
    assert answered("status", "--address", up.address).count("SERVING") == 3
    load = answered(*("load", "--address", up.address, "--rate", "30", "--seconds", "2", "--store", str(store.path)))
    assert "RUNG_FULL" in load


@pytest.mark.parametrize(
    ("name", "rungs"),
    [("ranking", {"RUNG_RETRIEVAL_ORDER"}), ("retrieval", {"RUNG_CACHED", "RUNG_POPULAR"})],
)
def test_a_killed_stage_lowers_the_rung_is_reported_and_comes_back(up: Up, name: str, rungs: set[str]) -> None:
    seen: list[str] = []
    with Client(up.address, timeout_seconds=5) as client:

        def answers_on(wanted: set[str]) -> bool:
            seen.append(gateway_pb2.Rung.Name(client.recommend(count=5).rung))
            return seen[-1] in wanted

        os.kill(up.pid(name), signal.SIGKILL)
        up.wait(lambda: answers_on(rungs))
        up.wait(lambda: answers_on({"RUNG_FULL"}))
    assert set(seen) <= {*rungs, "RUNG_FEWER_CANDIDATES", "RUNG_FULL"}
    up.wait(lambda: f"{name} died with signal SIGKILL" in up.printed)


def test_ctrl_c_stops_every_process(up: Up) -> None:
    pids = [up.pid(name) for name in ("retrieval", "ranking", "gateway")]
    assert up.stop() == 0
    assert "all servers stopped" in up.printed
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_interrupted_training_publishes_nothing(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "twostage.cli", "train", "--data", str(data), "--store", str(tmp_path)]

    def heed_interrupts() -> None:
        # A shell that started the tests in the background has them ignore Ctrl-C, and children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts) as process:  # noqa: PLW1509
        assert process.stderr is not None
        for line in process.stderr:
            if "towers" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert Store(tmp_path).generations() == []


def test_bad_data_is_refused_before_anything_is_trained(data: Path, tmp_path: Path) -> None:
    done = twostage("train", "--data", str(tmp_path), "--store", str(tmp_path / "store"))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "store").exists()
