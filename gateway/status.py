"""What the gateway says of itself and of the stages behind it."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import grpc

from twostage.messages.status import StatusWriter
from twostage.rpc.channels import Replicas
from twostage.rpc.metrics import package_version
from twostage.rpc.replica import Replica
from twostage.v1 import gateway_pb2, ranking_pb2, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc


def gateway_status() -> StatusWriter:
    """Makes the writer of the gateway's own status."""
    libraries = {
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "sqlite": sqlite3.sqlite_version,
    }
    return StatusWriter("gateway", package_version(), libraries)


class AskedStage(NamedTuple):
    """A stage, or a shard of one, whose replicas are asked for their status.

    Args:
        name: ``ranking``, ``retrieval`` or, where it is sharded, e.g. ``retrieval shard 0``.
        replicas: Its replicas.
        request: Its own GetStatus request.
    """

    name: str
    replicas: Replicas[Any]
    request: Any


def asked_stages(
    retrieval: Sequence[Replicas[retrieval_pb2_grpc.RetrievalServiceStub]],
    ranking: Replicas[ranking_pb2_grpc.RankingServiceStub],
) -> list[AskedStage]:
    """Lists both stages.

    Args:
        retrieval: The first stage's replicas: of each shard, or of one that holds all rows.
        ranking: The second stage's.
    """
    names = ["retrieval"] if len(retrieval) == 1 else [f"retrieval shard {index}" for index in range(len(retrieval))]
    question = retrieval_pb2.RetrievalServiceGetStatusRequest()
    return [
        *(AskedStage(name, replicas, question) for name, replicas in zip(names, retrieval, strict=True)),
        AskedStage("ranking", ranking, ranking_pb2.RankingServiceGetStatusRequest()),
    ]


def stage_statuses(stages: Iterable[AskedStage], timeout_seconds: float) -> Iterator[gateway_pb2.StageStatus]:
    """Asks every replica of all stages at once; the answers come as they are read, in the stages' order.

    Args:
        stages: Whom to ask.
        timeout_seconds: How long each may take.
    """
    asked = [
        (
            stage,
            [
                (replica, replica.stub.GetStatus.future(stage.request, timeout=timeout_seconds))
                for replica in stage.replicas.all()
            ],
        )
        for stage in stages
    ]
    for stage, calls in asked:
        if not calls:
            yield gateway_pb2.StageStatus(stage=stage.name, address=stage.replicas.target, error="no replica was found")
        for replica, call in calls:
            yield _read_status(stage.name, replica, call)


def _read_status(stage: str, replica: Replica[Any], call: Any) -> gateway_pb2.StageStatus:
    try:
        return gateway_pb2.StageStatus(stage=stage, address=replica.address, status=call.result().status)
    except grpc.RpcError:
        error = f"{call.code().name}: {' '.join((call.details() or 'no reason given').split())[:160]}"
        return gateway_pb2.StageStatus(stage=stage, address=replica.address, error=error)
