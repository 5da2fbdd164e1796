"""Requests to the ranking service, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status

from twostage.v1 import common_pb2, ranking_pb2, retrieval_pb2


def rank_request(**changes: Any) -> ranking_pb2.RankRequest:
    rows = list(range(60, 160))
    fields: dict[str, Any] = {
        "history": common_pb2.History(rows=[1, 2, 3]),
        "candidates": retrieval_pb2.CandidateColumns(rows=rows, scores=np.linspace(0.8, -0.2, len(rows)).tolist()),
        "count": 10,
    }
    return ranking_pb2.RankRequest(**{**fields, **changes})


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, list[Any]]:
    """Code, reason and violations of a call that must fail."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    error: Any = failed.value
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        if not detail.Unpack(info):
            detail.Unpack(bad_request)
    return error.code(), info.reason, list(bad_request.field_violations)
