"""Retrieval follows CURRENT: over gRPC, real FAISS, real LiteRT, requests all the while."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.bundles import make_catalogue
from tests.integration.generations.servers import Asked, Callers, publish, retrieval, retrieve_request, until
from tests.integration.ranking.reference import ITEM_COUNT
from tests.sharded_store import make_sharded_store
from twostage.bundle.checksums import sum_file
from twostage.bundle.manifest import read_manifest, write_manifest
from twostage.bundle.store import Store
from twostage.v1 import retrieval_pb2


@functools.cache
def expected_rows(seed: int) -> list[int]:
    vectors = make_catalogue(item_count=ITEM_COUNT, seed=seed).vectors.astype(np.float64)
    scores = vectors @ vectors[42]
    scores[42] = -np.inf
    rows: list[int] = np.argsort(-scores)[:20].tolist()
    return rows


def check(response: retrieval_pb2.RetrieveResponse) -> None:
    assert list(response.candidates.rows) == expected_rows(response.generation)


def holds(service: Asked, numbers: list[int]) -> bool:
    return service.held() == numbers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    publish(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def service(path: Path) -> Iterator[Asked]:
    with retrieval(path) as asked:
        yield asked


def test_publishing_under_load_loses_no_request_and_each_answer_is_of_one_generation(
    path: Path, service: Asked
) -> None:
    callers = Callers(lambda: service.stub.Retrieve(retrieve_request(), timeout=10))
    with callers.asking():
        for number in range(2, 6):
            publish(path)
            until(functools.partial(holds, service, [number, number - 1]))
            response = service.stub.Retrieve(retrieve_request(number - 1), timeout=10)
            assert response.generation == number - 1
            check(response)
        until(lambda: 5 in callers.generations)
    assert callers.errors == []
    for response in callers.responses:
        check(response)
    assert not callers.went_back()
    assert callers.generations == {1, 2, 3, 4, 5}
    assert service.metrics("twostage_generation_swaps_total") == 4
    assert service.metrics("twostage_generation_swap_seconds_count") == 5


def test_what_dropped_out_is_let_go_of(path: Path, service: Asked) -> None:
    for number in range(2, 8):
        publish(path)
        until(functools.partial(holds, service, [number, number - 1]))
        service.stub.Retrieve(retrieve_request(), timeout=10)
    assert mapped_generations(path) == {6, 7}


def mapped_generations(path: Path) -> set[int]:
    """The generations whose files this process has mapped."""
    maps = Path(f"/proc/{os.getpid()}/maps").read_text()
    return {int(number) for number in re.findall(rf"{re.escape(str(path))}/generations/(\d+)/", maps)}


def test_a_rollback_is_served_at_once(path: Path, service: Asked) -> None:
    publish(path)
    until(lambda: service.held() == [2, 1])
    Store(path).set_current(1)
    until(lambda: service.held() == [1, 2], 5)
    response = service.stub.Retrieve(retrieve_request(), timeout=10)
    assert response.generation == 1
    check(response)
    check(service.stub.Retrieve(retrieve_request(2), timeout=10))


def test_a_damaged_file_is_refused_and_the_old_generation_serves_on(path: Path, service: Asked) -> None:
    callers = Callers(lambda: service.stub.Retrieve(retrieve_request(), timeout=10), count=1)
    with callers.asking():
        number = publish(path, current=False)
        vectors = path / "generations" / str(number) / "retrieval" / "default" / "item_vectors.npy"
        whole = vectors.read_bytes()
        vectors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        Store(path).set_current(number)
        until(service.refused)
        assert "item_vectors.npy: expected sha256" in service.refused()[2]
        assert service.held() == [1]
        with pytest.raises(grpc.RpcError) as failed:
            service.stub.Retrieve(retrieve_request(2), timeout=10)
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        vectors.write_bytes(whole)
        (path / "generations" / str(number) / "manifest.json").touch()
        until(lambda: service.held() == [2, 1])
        until(lambda: 2 in callers.generations)
    assert callers.errors == []
    assert service.refused() == {}


def test_an_answer_that_differs_from_the_golden_one_is_refused(path: Path, service: Asked) -> None:
    """The file's sum is right, what is in it is not."""
    number = publish(path, current=False)
    folder = path / "generations" / str(number)
    golden = folder / "golden" / "retrieval.json"
    answers = json.loads(golden.read_text())
    answers[1]["scores"][0] += 0.01
    golden.write_text(json.dumps(answers))
    manifest = read_manifest(folder)
    files = {**manifest.files, "golden/retrieval.json": sum_file(golden)}
    write_manifest(folder, manifest.model_copy(update={"files": files}))
    Store(path).set_current(number)
    until(service.refused)
    assert "golden/retrieval.json: expected answer" in service.refused()[2]
    assert service.held() == [1]


def test_a_current_that_points_to_nothing_changes_nothing_and_is_told(path: Path, service: Asked) -> None:
    (path / "CURRENT").write_text("7\n")
    until(service.refused)
    assert service.refused() == {7: "generation 7 is not in the store; present: 1"}
    check(service.stub.Retrieve(retrieve_request(), timeout=10))
    (path / "CURRENT").unlink()
    check(service.stub.Retrieve(retrieve_request(), timeout=10))
    publish(path)
    until(lambda: service.held() == [2, 1])


def test_a_start_with_a_damaged_current_serves_the_one_before_and_says_so(path: Path) -> None:
    number = publish(path)
    (path / "generations" / str(number) / "items" / "popularity.npy").unlink()
    with retrieval(path) as service:
        assert service.held() == [1]
        assert "popularity.npy: expected a file" in service.refused()[2]
        publish(path)
        until(lambda: service.held() == [3, 1])


def test_a_pinned_service_stays_where_it_is(path: Path) -> None:
    with retrieval(path, generation=1) as service:
        publish(path)
        with pytest.raises(AssertionError):
            until(lambda: service.held() != [1], 0.5)


def test_a_shard_refuses_a_generation_with_another_number_of_shards_by_name(tmp_path: Path) -> None:
    path = tmp_path / "sharded"
    make_sharded_store(path, shard_count=2)
    with retrieval(path, shard=1) as service:
        make_sharded_store(path, shard_count=3)
        until(service.refused)
        assert "expected an index of 2 shards, for this server holds shard 1 of 2, found 3" in service.refused()[2]
        assert service.held() == [1]
        make_sharded_store(path, shard_count=2)
        until(lambda: service.held() == [3, 1])


def test_a_remote_store_that_goes_away_and_comes_back_is_followed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOSTAGE_CACHE", str(tmp_path / "cache"))
    url = f"file://{path}"
    with retrieval(url) as service:
        callers = Callers(lambda: service.stub.Retrieve(retrieve_request(), timeout=10), count=1)
        with callers.asking():
            aside = path.with_name("aside")
            path.rename(aside)
            publish(aside)
            until(lambda: len(callers.answers) > 100)
            assert service.held() == [1]
            aside.rename(path)
            until(lambda: service.held() == [2, 1])
        assert callers.errors == []
        check(service.stub.Retrieve(retrieve_request(1), timeout=10))
        check(service.stub.Retrieve(retrieve_request(2), timeout=10))
