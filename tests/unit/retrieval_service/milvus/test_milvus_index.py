from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2

from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import Collection
from retrieval_service.milvus.milvus_index import MilvusIndex, SearchPlan
from retrieval_service.milvus.push import push
from tests.unit.retrieval_service.milvus.conftest import Scripted, Scripting, unit_vectors
from twostage.bundle.errors import BundleCorrupt
from twostage.bundle.row_set import RowSet
from twostage.errors import NotReady

PLAN = SearchPlan(timeout_seconds=5, scan_rows=20, named_rows=50)
QUERY = unit_vectors(1, seed=5)[0]


def best(collection: Collection, selector: RowSet, count: int) -> list[int]:
    products = collection.vectors.astype(np.float64) @ QUERY
    return [int(row) for row in np.argsort(-products) if selector.mask[row]][:count]


def test_rows_outside_the_selector_and_repeats_are_dropped_and_made_up_for(
    collection: Collection, scripting: Scripting
) -> None:
    selector = RowSet.all_rows(300).without(np.arange(150))
    scripted = Scripted([1, 200, 200, 2, 299, 3])
    rows, scores = scripting.index(collection, scripted, PLAN).search(QUERY, 10, selector)
    assert rows.tolist() == best(collection, selector, 10)
    np.testing.assert_allclose(scores, collection.vectors[rows] @ QUERY, atol=1e-6)


@pytest.mark.parametrize("row", [-1, 300, 2**40])
def test_a_row_that_the_catalogue_has_not_is_not_ready(collection: Collection, scripting: Scripting, row: int) -> None:
    index = scripting.index(collection, Scripted([0, row]), PLAN)
    with pytest.raises(NotReady, match="rows that the catalogue has not") as caught:
        index.search(QUERY, 2, None)
    assert f"received {row}" in caught.value.detail


@pytest.mark.parametrize(
    ("excluded_count", "limit", "condition"),
    [
        (0, 10, ""),
        (25, 35, ""),
        (45, 10, "row not in [" + ",".join(map(str, range(45))) + "]"),
        (150, 57, ""),
    ],
)
def test_a_selector_is_met_in_the_cheapest_way(
    collection: Collection, scripting: Scripting, excluded_count: int, limit: int, condition: str
) -> None:
    selector = RowSet.all_rows(300).without(np.arange(excluded_count))
    scripted = Scripted(list(range(150, 220)))
    rows, _ = scripting.index(collection, scripted, PLAN).search(QUERY, 10, selector)
    assert len(rows) == 10
    assert scripted.limits == [limit]
    assert scripted.requests[0].dsl == condition


def test_few_rows_that_are_left_are_scanned_without_asking(collection: Collection, scripting: Scripting) -> None:
    selector = RowSet.of_rows(np.arange(20) * 9, 300)
    scripted = Scripted([])
    rows, _ = scripting.index(collection, scripted, PLAN).search(QUERY, 7, selector)
    assert rows.tolist() == best(collection, selector, 7)
    assert not scripted.requests


def test_a_short_answer_is_asked_for_again_with_twice_as_many(collection: Collection, scripting: Scripting) -> None:
    selector = RowSet.all_rows(300).without(np.arange(150))
    scripted = Scripted([1, 2, 3], list(range(150, 160)))
    rows, _ = scripting.index(collection, scripted, PLAN).search(QUERY, 10, selector)
    assert np.sort(rows).tolist() == list(range(150, 160))
    assert scripted.limits == [57, 114]


def test_a_search_takes_no_longer_than_its_timeout(collection: Collection, scripting: Scripting) -> None:
    def sleep(*_: Any) -> None:
        time.sleep(1)

    index = scripting.index(collection, Scripted(sleep), SearchPlan(timeout_seconds=0.1))
    started = time.monotonic()
    with pytest.raises(NotReady, match="does not answer in time"):
        index.search(QUERY, 5, None)
    assert time.monotonic() - started < 0.8


def test_a_failure_of_milvus_is_not_ready_and_its_reason_is_for_operators(
    collection: Collection, scripting: Scripting
) -> None:
    failing = Scripted(common_pb2.Status(code=101, reason="collection\nnot loaded"))
    with pytest.raises(NotReady, match="the vector database fails") as caught:
        scripting.index(collection, failing, PLAN).search(QUERY, 5, None)
    assert "collection not loaded" in caught.value.detail
    assert "127.0.0.1" not in caught.value.message


def test_the_token_goes_with_every_search(collection: Collection, scripting: Scripting) -> None:
    scripted = Scripted([1])
    scripting.index(collection, scripted, PLAN, token="ann:secret").search(QUERY, 1, None)
    assert scripted.metadata[0]["authorization"] == "YW5uOnNlY3JldA=="


def test_a_milvus_that_is_gone_fails_at_once_and_a_closed_index_as_well(
    collection: Collection, scripting: Scripting
) -> None:
    index = scripting.index(collection, Scripted([1]), PLAN)
    index.search(QUERY, 1, None)
    scripting._servers.pop().stop(0).wait()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(NotReady, match="does not answer"):
            index.search(QUERY, 1, None)
    assert time.monotonic() - started < 2
    index.close()
    with pytest.raises(NotReady, match="the index is closed"):
        index.search(QUERY, 1, None)


def test_an_address_where_nobody_listens_is_not_ready(collection: Collection) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = MilvusAddress.parse(f"http://ann:secret@127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(NotReady) as caught:
            MilvusIndex.open(address, collection, wait_seconds=2)
    assert "127.0.0.1" in caught.value.detail
    assert "secret" not in caught.value.detail


def test_a_file_that_is_not_there_is_refused_and_not_made(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(BundleCorrupt, match="expected a database of milvus-lite, found no file"):
        MilvusIndex.open(MilvusAddress.parse(str(tmp_path / "absent.db")), collection)
    assert not (tmp_path / "absent.db").exists()


def test_a_collection_that_is_not_there_is_refused(client: Any, address: MilvusAddress) -> None:
    with pytest.raises(BundleCorrupt, match=r"absent: expected a collection .*, found none"):
        MilvusIndex.open(address, Collection("absent", unit_vectors()))


def made(client: Any, name: str, *, dimension: int = 8, metric: str = "IP", row: str = "row", count: int = 300) -> None:
    if client.has_collection(name):
        client.drop_collection(name)
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field(row, DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    client.create_collection(name, schema=schema)
    vectors = unit_vectors(count, dimension)
    client.insert(name, [{row: number, "vector": vector} for number, vector in enumerate(vectors)])
    if metric:
        chosen = MilvusClient.prepare_index_params()
        chosen.add_index("vector", index_type="FLAT", metric_type=metric)
        client.create_index(name, chosen)


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"dimension": 4}, "expected 8 dimensions, found 4"),
        ({"metric": "L2"}, "expected the metric IP, found L2"),
        ({"metric": ""}, "expected an index of the vectors, found none"),
        ({"row": "id"}, "expected the primary key `row`, INT64, found fields"),
        ({"count": 299}, "expected 300 rows, found 299"),
    ],
)
def test_a_collection_of_another_form_is_refused(
    client: Any, address: MilvusAddress, form: dict[str, Any], complaint: str
) -> None:
    made(client, "other", **form)
    with pytest.raises(BundleCorrupt, match=complaint):
        MilvusIndex.open(address, Collection("other", unit_vectors()))


def test_a_collection_with_other_vectors_is_refused(client: Any, address: MilvusAddress) -> None:
    made(client, "other")
    with pytest.raises(BundleCorrupt, match="expected the vector of row 0, found another one"):
        MilvusIndex.open(address, Collection("other", unit_vectors(seed=1)))


def test_a_collection_that_is_not_loaded_is_no_index_of_a_cluster(client: Any, collection: Collection) -> None:
    made(client, collection.name)
    client.release_collection(collection.name)
    with pytest.raises(BundleCorrupt, match="expected a loaded collection"):
        collection.check(client, "http://milvus")


def test_two_indexes_over_one_file_do_not_close_each_other(
    collection: Collection, tmp_path: Path, client: Any, address: MilvusAddress
) -> None:
    push(client, address, collection, replace=True)
    first, second = MilvusIndex.open(address, collection), MilvusIndex.open(address, collection)
    first.close()
    rows, _ = second.search(QUERY, 5, None)
    second.close()
    assert len(rows) == 5
