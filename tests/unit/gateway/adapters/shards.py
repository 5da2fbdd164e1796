"""Shards of an index, each a server that scans its own rows in NumPy; for unit tests of who merges them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from twostage.rpc.channels import Replicas
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc

SourceList = retrieval_pb2.SourceList


@dataclass
class Search:
    """One list that a shard brings for any question.

    Args:
        source: Its name in the contract, without ``SOURCE_``.
        keys: float32[N], what all rows of the catalogue are ordered by.
        wanted_count: How many are wanted; the question's count when None.
        code_keys: float32[N], what the pool is ordered by; None for no codes.
        pool_count: How many codes let through.
        group: The list's group.
        seen: bool[N], which rows a first round finds; all when None.
    """

    source: str
    keys: NDArray[np.float32]
    wanted_count: int | None = None
    code_keys: NDArray[np.float32] | None = None
    pool_count: int = 0
    group: int = 0
    seen: NDArray[np.bool_] | None = None


@dataclass
class Script:
    """What all shards know.

    Args:
        scores: float32[N], user vector · item vector.
        searches: What the index is asked.
        popular: Rows that every shard knows in full, the most popular first; none when empty.
        change: Alters an answer before it is sent, by shard.
    """

    scores: NDArray[np.float32]
    searches: Sequence[Search]
    popular: Sequence[int] = ()
    change: dict[int, Callable[[Any], Any]] = field(default_factory=dict)


class ScriptedShard(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Answers from one shard's rows and keeps the questions; item ids are ``i`` and the row."""

    def __init__(self, index: int, rows_by_shard: Sequence[NDArray[np.int64]], script: Script) -> None:
        self._index, self._count = index, len(rows_by_shard)
        self._rows = rows_by_shard[index]
        self._script = script
        self.requests: list[Any] = []

    def Retrieve(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the contract's name
        del context
        return self._answer(request, retrieval_pb2.RetrieveResponse(), list(request.exclude_rows))

    def SimilarItems(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the contract's name
        del context
        own = int(request.item_id.removeprefix("i"))
        return self._answer(request, retrieval_pb2.RetrievalServiceSimilarItemsResponse(), [own])

    def _answer(self, request: Any, response: Any, excluded: Sequence[int]) -> Any:
        self.requests.append(request)
        allowed = np.setdiff1d(np.arange(len(self._script.scores)), excluded)
        response.generation = request.generation
        response.allowed_count = len(allowed)
        response.answered_shard.MergeFrom(retrieval_pb2.Shard(index=self._index, count=self._count))
        response.timings.append(common_pb2.Timing(stage="search", compute_ms=1.0 + self._index))
        own = np.intersect1d(self._rows, allowed)
        for search in self._script.searches:
            response.lists.append(self._list(search, own, request))
        if request.shard.with_shared_sources and self._script.popular:
            rows = [row for row in self._script.popular if row in allowed][: request.count]
            response.lists.append(
                SourceList(
                    source="SOURCE_POPULAR", rows=rows, scores=self._script.scores[rows], wanted_count=request.count
                )
            )
        return self._script.change.get(self._index, lambda answer: answer)(response)

    def _list(self, search: Search, own: NDArray[np.int64], request: Any) -> SourceList:
        wanted = request.count if search.wanted_count is None else search.wanted_count
        rows = own
        coded = search.code_keys is not None and not request.shard.exhaustive
        if search.seen is not None and not request.shard.exhaustive:
            rows = own[search.seen[own]]
        by = search.code_keys if coded and search.code_keys is not None else search.keys
        rows = rows[np.lexsort((rows, -by[rows]))][: search.pool_count if coded else wanted]
        # As the contract says: by key, whatever the codes say.
        rows = rows[np.lexsort((rows, -search.keys[rows]))]
        return SourceList(
            source=f"SOURCE_{search.source}",
            group=search.group,
            rows=rows,
            keys=search.keys[rows],
            code_keys=search.code_keys[rows] if coded and search.code_keys is not None else [],
            scores=self._script.scores[rows],
            wanted_count=wanted,
            pool_count=search.pool_count if coded else 0,
        )


@contextmanager
def serving(
    script: Script, *, shard_count: int = 3, order: Sequence[int] | None = None
) -> Iterator[tuple[list[ScriptedShard], list[Replicas[retrieval_pb2_grpc.RetrievalServiceStub]], list[ServiceServer]]]:
    """Serves a catalogue dealt out to shards.

    Args:
        script: What they know.
        shard_count: How many there are.
        order: In which order their targets are handed out; their own when None.
    """
    rows_by_shard = [np.arange(start, len(script.scores), shard_count) for start in range(shard_count)]
    shards = [ScriptedShard(index, rows_by_shard, script) for index in range(shard_count)]
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(shard)) for shard in shards]
        targets = [
            stack.enter_context(Replicas(servers[index].address, retrieval_pb2_grpc.RetrievalServiceStub))
            for index in order or range(shard_count)
        ]
        yield shards, targets, servers


def _server(shard: ScriptedShard) -> ServiceServer:
    def register(server: grpc.Server) -> None:
        retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(shard, server)

    return ServiceServer("retrieval", [], register, ServiceSettings(), registry=CollectorRegistry())


def late(answer: Any) -> Any:
    """An answer that takes longer than anybody waits."""
    time.sleep(0.4)
    return answer
