"""What the gateway says of itself and of the stages behind it."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable
from typing import Any

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


def stage_statuses(
    stage: str, replicas: Replicas[Any], request: Any, timeout_seconds: float
) -> Iterable[gateway_pb2.StageStatus]:
    """Asks every replica of a stage at once; the answers come as they are read.

    Args:
        stage: ``retrieval`` or ``ranking``.
        replicas: The stage's replicas.
        request: The stage's own GetStatus request.
        timeout_seconds: How long each may take.
    """
    calls = [(replica, replica.stub.GetStatus.future(request, timeout=timeout_seconds)) for replica in replicas.all()]
    if not calls:
        yield gateway_pb2.StageStatus(stage=stage, address=replicas.target, error="no replica was found")
    for replica, call in calls:
        yield _read_status(stage, replica, call)


def _read_status(stage: str, replica: Replica[Any], call: Any) -> gateway_pb2.StageStatus:
    try:
        return gateway_pb2.StageStatus(stage=stage, address=replica.address, status=call.result().status)
    except grpc.RpcError:
        error = f"{call.code().name}: {' '.join((call.details() or 'no reason given').split())[:160]}"
        return gateway_pb2.StageStatus(stage=stage, address=replica.address, error=error)
