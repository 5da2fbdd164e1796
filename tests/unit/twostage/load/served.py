"""A gateway's servicer behind a real port."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc

from twostage.v1 import gateway_pb2_grpc


@contextmanager
def served(servicer: gateway_pb2_grpc.RecommendationServiceServicer) -> Iterator[str]:
    """Serves it on a free port, whose address this is."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()
