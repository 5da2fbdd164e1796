"""Single searches of a collection, each within a stated time.

pymilvus's own client retries and reconnects under a lock that all its users share, so that a search of a Milvus that
is gone takes many times its timeout. Here the generated stub is called: one call, one deadline, no retry.
"""

from __future__ import annotations

import json
import math
import threading
from contextlib import nullcontext

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import METRIC, VECTOR_FIELD, IndexForm
from retrieval_service.milvus.connection import one_line, rpc_reason
from twostage.errors import NotReady

MAX_LIMIT = 16_384
"""The most rows that Milvus finds in one search."""

_SEEN_BY_ALL = 1
"""A time long past: what was pushed is seen by every node since it was loaded, so that nothing need be waited for."""
_LEAST_PROBED_SHARE = 1 / 16
_PROBED_ROWS_PER_WANTED = 8
_LEAST_EF = 64
_MOST_EF = 32_768


def search_depth(index: IndexForm, limit: int, item_count: int, effort: float = 1.0) -> dict[str, int]:
    """How thoroughly Milvus is to search.

    An inverted file looks at a sixteenth of its lists, or at as many as hold eight times what is wanted, whichever is
    more; a graph walks twice as far as it is asked to find. These are starting points, on the safe side of what FAISS
    needed for 500 of half a million at a recall of 0.95; ``python -m retrieval_service.milvus check`` measures them.

    Args:
        index: How the collection is indexed.
        limit: How many rows are wanted.
        item_count: How many there are.
        effort: Multiplies the depth; 1 by default.

    Returns:
        Search parameters by Milvus's names; empty for an index that has none.
    """
    if index.kind.startswith("IVF"):
        share = effort * max(_LEAST_PROBED_SHARE, _PROBED_ROWS_PER_WANTED * limit / item_count)
        return {"nprobe": max(1, min(index.list_count, math.ceil(index.list_count * share)))}
    if index.kind.startswith("HNSW"):
        # Milvus refuses an ef below the limit.
        return {"ef": max(limit, min(_MOST_EF, math.ceil(effort * max(_LEAST_EF, 2 * limit))))}
    return {}


class SearchCalls:
    """Searches of one collection; safe to use from several threads.

    Args:
        address: Which Milvus.
        target: Its ``host:port``.
        collection: The collection's name.
    """

    def __init__(self, address: MilvusAddress, target: str, collection: str) -> None:
        self._address = address
        self._collection = collection
        # milvus-lite keeps the depth of the search under way in the index itself: searches side by side would take
        # each other's.
        self._turn = nullcontext() if address.path is None else threading.Lock()
        options = [("grpc.max_receive_message_length", -1), ("grpc.keepalive_time_ms", 10_000)]
        if address.secure:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)

    def find(
        self,
        vector: NDArray[np.float32],
        limit: int,
        expression: str,
        depth: dict[str, int],
        timeout_seconds: float,
    ) -> NDArray[np.int64]:
        """Finds rows near a vector.

        Args:
            vector: float32[D].
            limit: How many at most, 1 to :data:`MAX_LIMIT`.
            expression: A condition in Milvus's language; empty for none.
            depth: As :func:`search_depth` makes it.
            timeout_seconds: How long it may take.

        Returns:
            int64[M], primary keys as Milvus answered them, not looked at; M may be below ``limit``.

        Raises:
            NotReady: Milvus cannot be reached, fails, or takes longer.
        """
        request = self.request(vector, limit, expression, depth)
        try:
            with self._turn:
                answer = self._stub.Search(request, timeout=timeout_seconds, metadata=self._address.metadata)
        except grpc.RpcError as error:
            if hasattr(error, "code") and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise NotReady(
                    "the vector database does not answer in time", f"{self._where}: {timeout_seconds:.3f} s"
                ) from error
            raise NotReady("the vector database does not answer", f"{self._where}: {rpc_reason(error)}") from error
        except ValueError as error:
            # What gRPC raises for a call on a channel that was closed.
            raise NotReady("the index is closed", f"{self._where}: {error}") from error
        if answer.status.code or answer.status.error_code:
            raise NotReady("the vector database fails", f"{self._where}: {one_line(answer.status.reason)}")
        found = answer.results.ids.int_id.data
        return np.fromiter(found, np.int64, len(found))

    def request(
        self, vector: NDArray[np.float32], limit: int, expression: str, depth: dict[str, int]
    ) -> milvus_pb2.SearchRequest:
        """The message of a search."""
        asked = common_pb2.PlaceholderGroup(
            placeholders=[
                common_pb2.PlaceholderValue(
                    tag="$0",
                    type=common_pb2.PlaceholderType.FloatVector,
                    values=[np.ascontiguousarray(vector, "<f4").tobytes()],
                )
            ]
        )
        parameters = {
            "anns_field": VECTOR_FIELD,
            "topk": str(limit),
            "metric_type": METRIC,
            "round_decimal": "-1",
            "params": json.dumps(depth),
        }
        return milvus_pb2.SearchRequest(
            db_name=self._address.database,
            collection_name=self._collection,
            dsl=expression,
            dsl_type=common_pb2.DslType.BoolExprV1,
            placeholder_group=asked.SerializeToString(),
            search_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in parameters.items()],
            nq=1,
            consistency_level=common_pb2.ConsistencyLevel.Eventually,
            guarantee_timestamp=_SEEN_BY_ALL,
        )

    def close(self) -> None:
        """Closes the connection; calls under way fail as NotReady."""
        self._channel.close()

    @property
    def _where(self) -> str:
        return f"{self._address.uri}/{self._collection}"
