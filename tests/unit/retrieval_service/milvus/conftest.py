from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import Collection, IndexForm, collection_name
from retrieval_service.milvus.connection import connect
from retrieval_service.milvus.milvus_index import MilvusIndex, SearchPlan
from retrieval_service.milvus.search_calls import SearchCalls

FINGERPRINT = "0123456789abcdef" * 4


def unit_vectors(count: int = 300, dimension: int = 8, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture
def collection() -> Collection:
    return Collection(collection_name(7, "default", FINGERPRINT), unit_vectors())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> MilvusAddress:
    """A file of milvus-lite."""
    return MilvusAddress.parse(str(tmp_path_factory.mktemp("lite") / "milvus.db"))


@pytest.fixture(scope="module")
def client(address: MilvusAddress) -> Iterator[Any]:
    with connect(address) as connected:
        yield connected


class Scripted(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]  # generated
    """A server of Milvus's protocol that answers what it is told, for answers that the real one does not give.

    Args:
        answers: Rows or a status or seconds of silence by turns, the last of them for ever.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []

    def Search(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            return answer(request, context)
        if isinstance(answer, common_pb2.Status):
            return milvus_pb2.SearchResults(status=answer)
        ids = schema_pb2.IDs(int_id=schema_pb2.LongArray(data=answer))
        return milvus_pb2.SearchResults(results=schema_pb2.SearchResultData(num_queries=1, ids=ids))

    @property
    def limits(self) -> list[int]:
        return [int({pair.key: pair.value for pair in request.search_params}["topk"]) for request in self.requests]


class Scripting:
    """Starts servers and indexes over them, and ends them."""

    def __init__(self) -> None:
        self._servers: list[grpc.Server] = []
        self._indexes: list[MilvusIndex] = []

    def index(self, collection: Collection, scripted: Scripted, plan: SearchPlan, token: str = "") -> MilvusIndex:
        server = grpc.server(futures.ThreadPoolExecutor(2))
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(scripted, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self._servers.append(server)
        address = MilvusAddress.parse(f"http://127.0.0.1:{port}", token)
        calls = SearchCalls(address, address.target, collection.name)
        index = MilvusIndex(calls, collection, IndexForm("IVF_FLAT", "IP"), plan)
        self._indexes.append(index)
        return index

    def stop(self) -> None:
        for index in self._indexes:
            index.close()
        for server in self._servers:
            server.stop(0).wait()


@pytest.fixture
def scripting() -> Iterator[Scripting]:
    made = Scripting()
    yield made
    made.stop()
