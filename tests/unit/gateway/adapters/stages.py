"""Both stages' servicers, answering what a test tells them; for answers that the real ones never give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import ServiceSettings
from twostage.v1 import ranking_pb2_grpc, retrieval_pb2_grpc

Answer = Callable[[Any, grpc.ServicerContext], Any]


class Stages(retrieval_pb2_grpc.RetrievalServiceServicer, ranking_pb2_grpc.RankingServiceServicer):
    """Answers through a function and keeps the last request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.request: Any = None

    def Retrieve(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the contract's name
        self.request = request
        return self.answer(request, context)

    def SimilarItems(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the contract's name
        self.request = request
        return self.answer(request, context)

    def Rank(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the contract's name
        self.request = request
        return self.answer(request, context)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[Stages, str]]:
    """Serves both stages at one address through the project's own server and error map."""
    stages = Stages(answer)

    def register(server: grpc.Server) -> None:
        retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(stages, server)
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(stages, server)

    with ServiceServer("stages", [], register, ServiceSettings(), registry=CollectorRegistry()) as server:
        yield stages, server.address
