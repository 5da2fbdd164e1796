"""From settings to a serving process: open ▸ verify ▸ warm ▸ golden check ▸ serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import grpc
from structlog.typing import FilteringBoundLogger

from retrieval_service.engine.engine import RetrievalEngine
from retrieval_service.engine.golden import check_golden
from retrieval_service.metrics import RetrievalMetrics
from retrieval_service.servicer import Held, RetrievalServicer
from retrieval_service.settings import RetrievalSettings
from twostage.bundle.generation import Generation
from twostage.bundle.store import Store
from twostage.rpc.launch import launch
from twostage.rpc.metrics import new_registry
from twostage.rpc.server import ServiceServer
from twostage.v1 import retrieval_pb2_grpc

if TYPE_CHECKING:
    from retrieval_service.milvus.milvus_index import MilvusIndex

SERVICE_NAME = "twostage.v1.RetrievalService"

_READ_FOLDERS = ("items/", "retrieval/", "golden/")
"""What this service reads of a generation."""


def load(settings: RetrievalSettings, logger: FilteringBoundLogger) -> Held:
    """Opens the generation, the store's current one unless told otherwise, and holds it to its own golden answers.

    Raises:
        BundleError: There is no store or no generation, or a file is not what it should be.
    """
    started = time.perf_counter()
    verify = _READ_FOLDERS if settings.verify_checksums else ()
    generation = Store(settings.store).open(settings.generation, verify=verify)
    verified = time.perf_counter()
    milvus = _milvus(settings, generation)
    engine = RetrievalEngine.open(generation, shard=settings.shard, index=milvus)
    # Opened now, so that a damaged table is found here and not by the first request.
    item_count = len(generation.ids)
    engine.warm()
    golden_count = check_golden(engine, generation, other_index=milvus is not None)
    index = generation.manifest.tower.index
    logger.info(
        "generation loaded",
        generation=generation.number,
        item_count=item_count,
        index=index.factory if milvus is None else f"milvus {settings.milvus_uri}",
        shard=f"{engine.shard.index} of {engine.shard.count}" if engine.shard.count > 1 else None,
        golden="none in the bundle, not checked" if golden_count is None else f"{golden_count} answers agree",
        verify_ms=round((verified - started) * 1e3, 1) if settings.verify_checksums else None,
        load_ms=round((time.perf_counter() - verified) * 1e3, 1),
    )
    return Held(generation, engine) if milvus is None else Held(generation, engine, milvus.close)


def _milvus(settings: RetrievalSettings, generation: Generation) -> MilvusIndex | None:
    """The generation's collection in Milvus, where one is to be searched.

    Raises:
        BundleCorrupt: There is no such collection, or it holds something else.
        NotReady: Milvus does not answer.
    """
    if settings.milvus_uri is None:
        return None
    # Loaded only here: the client brings gRPC stubs and pandas along.
    from retrieval_service.milvus.address import MilvusAddress  # noqa: PLC0415
    from retrieval_service.milvus.collection import Collection  # noqa: PLC0415
    from retrieval_service.milvus.milvus_index import MilvusIndex, SearchPlan  # noqa: PLC0415

    address = MilvusAddress.parse(settings.milvus_uri, settings.milvus_token.get_secret_value())
    collection = Collection.of(generation, prefix=settings.milvus_prefix)
    plan = SearchPlan(timeout_seconds=settings.milvus_timeout_ms / 1e3, effort=settings.milvus_effort)
    return MilvusIndex.open(address, collection, plan=plan)


def build(settings: RetrievalSettings, logger: FilteringBoundLogger) -> tuple[ServiceServer, Callable[[], None]]:
    """Makes the server and the function that loads what it serves."""
    registry = new_registry()
    servicer = RetrievalServicer(RetrievalMetrics(registry))

    def register(server: grpc.Server) -> None:
        retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(servicer, server)

    server = ServiceServer("retrieval", [SERVICE_NAME], register, settings, registry=registry, logger=logger)

    def prepare() -> None:
        held = load(settings, logger)
        server.on_close(held.close)
        servicer.hold(held)
        server.metrics.set_generation(held.generation.number)

    return server, prepare


def run(flags: Mapping[str, object]) -> int:
    """Runs the service in this process and returns its exit code.

    Args:
        flags: Settings given on the command line by field name; None for those that were not.
    """
    return launch("retrieval", RetrievalSettings, flags, build)
