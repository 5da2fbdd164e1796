"""What the gateway says of itself and of the stages behind it."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import grpc

from twostage.messages.status import StatusWriter
from twostage.rpc.channels import Replica, Replicas
from twostage.rpc.metrics import package_version
from twostage.v1 import gateway_pb2


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
