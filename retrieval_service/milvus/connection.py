"""A connection to a Milvus, and its failures in our words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.client.types import Status
from pymilvus.exceptions import MilvusException

from retrieval_service.milvus import local_server
from retrieval_service.milvus.address import MilvusAddress
from twostage.errors import NotReady


@contextmanager
def connect(address: MilvusAddress, *, timeout_seconds: float = 10) -> Iterator[Any]:
    """Connects for administration: collections, counts, inserting; not for searches, whose time is short.

    Whatever Milvus fails at inside the context becomes :class:`twostage.errors.NotReady`, the address in its detail.

    Args:
        address: Which Milvus.
        timeout_seconds: How long the connecting may take.

    Yields:
        A ``pymilvus.MilvusClient``.

    Raises:
        NotReady: It cannot be reached, or it fails at what it is asked inside the context.
    """
    # pymilvus logs every failure with a traceback before it raises it.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    with telling(address), _served(address) as uri:
        client = MilvusClient(
            uri, token=address.token, db_name=address.database, timeout=timeout_seconds, dedicated=True
        )
        try:
            yield client
        finally:
            client.close()


@contextmanager
def telling(address: MilvusAddress) -> Iterator[None]:
    """Turns the failures of Milvus and of the way there into NotReady."""
    try:
        yield
    except MilvusException as error:
        why = "cannot be reached" if error.code == Status.CONNECT_FAILED else "fails"
        raise NotReady(f"the vector database {why}", f"{address.uri}: {one_line(error.message)}") from error
    except grpc.FutureTimeoutError as error:
        raise NotReady("the vector database does not answer", f"{address.uri}: timeout") from error
    except grpc.RpcError as error:
        raise NotReady("the vector database does not answer", f"{address.uri}: {rpc_reason(error)}") from error


def rpc_reason(error: grpc.RpcError) -> str:
    """Code and details of a failed call, in one line."""
    code = error.code().name if hasattr(error, "code") else type(error).__name__
    details = error.details() if hasattr(error, "details") else ""
    return one_line(f"{code}: {details}" if details else code)


def one_line(text: object) -> str:
    """Text without line ends."""
    return " ".join(str(text).split())


@contextmanager
def _served(address: MilvusAddress) -> Iterator[str]:
    if address.path is None:
        yield f"{'https' if address.secure else 'http'}://{address.target}"
        return
    target = local_server.start(address.path)
    try:
        yield f"http://{target}"
    finally:
        local_server.stop(address.path)
