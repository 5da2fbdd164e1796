"""One request's trace through the real gateway, retrieval and ranking, in this process, to a real collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import structlog

import gateway.server
import ranking_service.server
import retrieval_service.server
from gateway.settings import GatewaySettings
from gateway.users.import_histories import import_histories
from ranking_service.settings import RankingSettings
from retrieval_service.settings import RetrievalSettings
from tests.bundles import ACTIONS, make_store
from tests.collector import SeenSpan, collecting
from tests.ports import free_port
from tests.unit.ranking_service.scripted_model_server import scripted_model_server
from twostage.rpc.server import ServiceServer
from twostage.rpc.settings import load_settings
from twostage.tfserving import messages
from twostage.tfserving.tensors import encode
from twostage.v1 import gateway_pb2, gateway_pb2_grpc

GATEWAY = "twostage.v1.RecommendationService/Recommend"
RETRIEVE = "twostage.v1.RetrievalService/Retrieve"
RANK = "twostage.v1.RankingService/Rank"
PREDICT = "tensorflow.serving.PredictionService/Predict"
INTERNAL, SERVER, CLIENT = 1, 2, 3
ERROR = 2
NOWHERE = "http://127.0.0.1:1"


@dataclass
class World:
    stub: gateway_pb2_grpc.RecommendationServiceStub
    servers: dict[str, ServiceServer]
    predict_metadata: list[dict[str, str]]

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop(grace_seconds=5)


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    path = make_store(folder / "store", item_count=60).path
    import_histories(folder / "users.sqlite", path / "users" / "1")
    return path


@contextmanager
def running(store: Path, endpoint: str | None, share: float = 1.0) -> Iterator[World]:
    seen: list[dict[str, str]] = []

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        seen.append({str(key): str(value) for key, value in context.invocation_metadata()})
        count = len(messages_shape(request))
        response = messages.PredictResponse()
        scores = np.linspace(0.1, 0.9, count * len(ACTIONS), dtype=np.float32).reshape(count, len(ACTIONS))
        response.outputs["action_scores"].CopyFrom(encode(scores))
        return response

    def status(request: Any, context: grpc.ServicerContext) -> Any:
        response = messages.GetModelStatusResponse()
        version = response.model_version_status.add()
        version.version, version.state = 1, 30
        return response

    traced = {"trace_endpoint": endpoint, "trace_share": share, "metrics_port": free_port()}
    with ExitStack() as stack:
        model_server = stack.enter_context(scripted_model_server(predict, status))
        servers: dict[str, ServiceServer] = {}

        def start(name: str, server: ServiceServer, prepare: Any) -> str:
            servers[name] = server
            stack.callback(server.stop, 0)
            server.start()
            prepare()
            server.set_serving()
            return server.address

        logger = structlog.get_logger()
        common = {"store": store, "port": 0, **traced}
        retrieval = start(
            "retrieval", *retrieval_service.server.build(load_settings(RetrievalSettings, common), logger)
        )
        flags = {**common, "model_server": model_server, "metrics_port": free_port()}
        ranking = start("ranking", *ranking_service.server.build(load_settings(RankingSettings, flags), logger))
        flags = {
            **common,
            "retrieval": retrieval,
            "ranking": ranking,
            "users": store.parent / "users.sqlite",
            "metrics_port": free_port(),
        }
        address = start("gateway", *gateway.server.build(load_settings(GatewaySettings, flags), logger))
        seen.clear()
        channel = stack.enter_context(grpc.insecure_channel(address))
        yield World(gateway_pb2_grpc.RecommendationServiceStub(channel), servers, seen)


def messages_shape(request: Any) -> range:
    """The candidates of a Predict, by their number."""
    return range(request.inputs["retrieval_scores"].tensor_shape.dim[0].size)


def test_a_recommend_is_one_trace_from_the_caller_to_the_model_server(store_path: Path) -> None:
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with collecting() as collector, running(store_path, collector.endpoint, share=0.0) as world:
        request = gateway_pb2.RecommendRequest(user_id="user-1", count=5, include_seen=True)
        response = world.stub.Recommend(request, timeout=10, metadata=[("traceparent", caller)])
        assert response.rung == gateway_pb2.RUNG_FULL
        world.stop()
        spans = collector.wait(1)
        seen = list(world.predict_metadata)
    assert {span.trace_id for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
    by = {(span.service, span.kind, span.name): span for span in spans}
    assert len(by) == len(spans)
    root = by["twostage-gateway", SERVER, GATEWAY]
    assert root.parent_id == "b7ad6b7169203331"
    steps = [("twostage-gateway", INTERNAL, "user")]
    calls = {
        "retrieval": (by["twostage-gateway", CLIENT, RETRIEVE], by["twostage-retrieval", SERVER, RETRIEVE]),
        "ranking": (by["twostage-gateway", CLIENT, RANK], by["twostage-ranking", SERVER, RANK]),
    }
    for stage, (call, served) in calls.items():
        assert call.parent_id == root.span_id
        assert served.parent_id == call.span_id
        assert root.start_ns <= call.start_ns <= call.end_ns <= root.end_ns
        assert call.attributes["server.address"] == world.servers[stage].address
        assert call.attributes["twostage.attempt"] == "first"
    for service, names in {
        "retrieval": ("select", "user_tower", "search", "blend"),
        "ranking": ("gather", "blend", "select", "describe"),
    }.items():
        for name in names:
            step = by[f"twostage-{service}", INTERNAL, name]
            assert step.parent_id == calls[service][1].span_id
            steps.append((f"twostage-{service}", INTERNAL, name))
    predict = by["twostage-ranking", CLIENT, PREDICT]
    assert predict.parent_id == calls["ranking"][1].span_id
    assert [each["traceparent"] for each in seen] == [f"00-{predict.trace_id}-{predict.span_id}-01"]
    named = {("twostage-gateway", SERVER, GATEWAY), ("twostage-ranking", CLIENT, PREDICT), *steps}
    named |= {(f"twostage-{stage}", SERVER, name) for stage, name in (("retrieval", RETRIEVE), ("ranking", RANK))}
    assert set(by) == named | {("twostage-gateway", CLIENT, RETRIEVE), ("twostage-gateway", CLIENT, RANK)}
    assert root.attributes["twostage.generation"] == 1
    assert root.attributes["twostage.rung"] == "FULL"
    assert root.attributes["twostage.request_id"] == response.request_id
    assert root.attributes["rpc.grpc.status_code"] == 0
    assert calls["ranking"][1].attributes["twostage.candidate_count"] == 60
    assert not any("user-1" in str(value) for span in spans for value in span.attributes.values())
    assert not any("item-" in str(value) for span in spans for value in span.attributes.values())


def test_a_caller_whose_trace_is_not_recorded_has_nothing_recorded_anywhere(store_path: Path) -> None:
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    with collecting() as collector, running(store_path, collector.endpoint, share=1.0) as world:
        request = gateway_pb2.RecommendRequest(user_id="user-1", count=5)
        world.stub.Recommend(request, timeout=10, metadata=[("traceparent", caller)])
        world.stop()
        # Loading and status calls of this world may be traced; this request is not.
        assert all(span.trace_id != "0af7651916cd43dd8448eb211c80319c" for span in collector.spans)
        assert all(span.name != GATEWAY for span in collector.spans)
        (sent,) = (each["traceparent"] for each in world.predict_metadata)
    assert sent.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert sent.endswith("-00")


def test_a_stage_that_cannot_be_reached_is_a_failed_call_and_the_request_is_answered(store_path: Path) -> None:
    with collecting() as collector, running(store_path, collector.endpoint) as world:
        world.servers["ranking"].stop(0)
        response = world.stub.Recommend(gateway_pb2.RecommendRequest(user_id="user-1", count=5), timeout=10)
        world.stop()
        spans = collector.wait(1)
    assert response.rung == gateway_pb2.RUNG_RETRIEVAL_ORDER
    root = one(spans, "twostage-gateway", GATEWAY)
    assert root.status != ERROR
    assert root.attributes["twostage.rung"] == "RETRIEVAL_ORDER"
    assert root.attributes["twostage.rung_reason"] == response.rung_reason
    failed = [span for span in spans if span.name == RANK and span.kind == CLIENT]
    assert [span.status for span in failed] == [ERROR] * len(failed)
    assert {span.attributes["error.type"] for span in failed} == {"UNAVAILABLE"}
    assert {span.attributes["twostage.attempt"] for span in failed} <= {"first", "retry"}


def test_a_dead_collector_blocks_and_fails_nothing(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    answered: list[int] = []
    with running(store_path, NOWHERE) as world:

        def ask() -> None:
            for _ in range(15):
                request = gateway_pb2.RecommendRequest(user_id="user-1", count=5)
                answered.append(world.stub.Recommend(request, timeout=10).rung)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answered == [gateway_pb2.RUNG_FULL] * 30
        registry = world.servers["gateway"].metrics.registry
        dropped = registry.get_sample_value("twostage_trace_spans_total", {"outcome": "dropped"})
        assert dropped is not None
        # Of 120 spans no more than the queue holds are waited with.
        assert dropped >= 60
        assert registry.get_sample_value("twostage_trace_spans_total", {"outcome": "sent"}) == 0
        for server in world.servers.values():
            server.stop(grace_seconds=0)


def one(spans: list[SeenSpan], service: str, name: str) -> SeenSpan:
    (found,) = (span for span in spans if (span.service, span.name) == (service, name))
    return found
