"""Spans of a small real server and of calls, as a real collector gets them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from structlog.testing import CapturingLogger

from tests.collector import Collector, SeenSpan, collecting
from tests.unit.twostage.rpc.calling import ask, make
from tests.unit.twostage.rpc.echo import connected, echo_server, say_stub
from tests.unit.twostage.rpc.scripted import scripted
from twostage.rpc.tracing import current
from twostage.rpc.tracing.caller import trace_of_caller
from twostage.rpc.tracing.current import call_span, method_of
from twostage.rpc.tracing.sdk import make_tracer
from twostage.v1 import gateway_pb2, ranking_pb2, retrieval_pb2

SAY = "test.Echo/Say"
SERVER, CLIENT, ERROR = 2, 3, 2
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)


def said(
    *texts: str, metadata: tuple[tuple[str, str], ...] = PARENT, **settings: Any
) -> tuple[list[SeenSpan], list[dict[str, Any]], Any]:
    """The spans, the log and the metrics of requests to a server that is stopped after them."""
    logger: Any = CapturingLogger()
    with collecting() as collector:
        given = {"trace_endpoint": collector.endpoint, "log_requests": "all", **settings}
        with echo_server(logger, **given) as server:
            with connected(server.address) as channel:
                for text in texts:
                    try:
                        say_stub(channel)(StringValue(value=text), timeout=5, metadata=metadata)
                    except grpc.RpcError:
                        continue
            server.stop(grace_seconds=5)
        return list(collector.spans), [call.kwargs for call in logger.calls], server.metrics.registry


def test_a_request_is_a_span_with_what_its_log_event_tells() -> None:
    (span,), _, _ = said("hello")
    assert (span.service, span.name, span.kind) == ("twostage-echo", SAY, SERVER)
    assert (span.trace_id, span.parent_id) == (TRACE, "b7ad6b7169203331")
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "test.Echo",
        "rpc.method": "Say",
        "rpc.grpc.status_code": 0,
        "twostage.generation": 7,
        "twostage.candidate_count": 500,
    }
    assert span.status != ERROR


def test_a_defect_is_an_error_and_what_the_caller_did_wrong_is_none() -> None:
    spans, _, _ = said("boom", "InvalidField", "NotReady", "Overloaded")
    told = [(span.attributes["rpc.grpc.status_code"], span.attributes["error.type"], span.status) for span in spans]
    assert sorted(told) == [
        (3, "INVALID_FIELD", 0),
        (8, "OVERLOADED", 0),
        (13, "INTERNAL", ERROR),
        (14, "NOT_READY", ERROR),
    ]
    assert "secret" not in repr(spans)


def test_the_log_event_and_the_exemplar_name_the_trace() -> None:
    _, events, registry = said("hello", "InvalidField")
    assert [event.get("trace_id") for event in events if event.get("method") == SAY] == [TRACE, TRACE]
    exemplars = [
        (sample.labels["outcome"], sample.exemplar.labels)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "twostage_request_seconds_bucket" and sample.exemplar
    ]
    assert sorted(exemplars) == [("failed", {"trace_id": TRACE}), ("ok", {"trace_id": TRACE})]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_a_caller_who_traces_the_share_decides(share: float) -> None:
    spans, events, _ = said("hello", metadata=(), trace_share=share)
    assert len(spans) == int(share)
    assert [("trace_id" in event) for event in events if event.get("method") == SAY] == [share == 1.0]


@pytest.mark.parametrize("header", ["", "00-zz-zz-01", f"00-{'0' * 32}-b7ad6b7169203331-01", "x" * 5000])
def test_a_header_that_is_no_trace_begins_one(header: str) -> None:
    (span,), _, _ = said("hello", metadata=(("traceparent", header),), trace_share=1.0)
    assert span.parent_id == ""
    assert re.fullmatch("[0-9a-f]{32}", span.trace_id)
    assert span.trace_id != TRACE


def test_what_the_environment_says_of_the_service_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-echo")
    (span,), _, _ = said("hello")
    assert span.service == "shop-echo"


@contextmanager
def request(collector: Collector) -> Iterator[None]:
    """A sampled request in this thread; its spans are sent when it has ended."""
    tracer = make_tracer(collector.endpoint, 1.0, "asker", CollectorRegistry(), structlog.get_logger())
    span = tracer.begin("test.Asker/Ask", ())
    try:
        yield
    finally:
        span.finish(grpc.StatusCode.OK, {}, None)
        tracer.close(5)


def test_a_hedge_that_wins_stands_beside_the_call_that_was_given_up() -> None:
    with collecting() as collector, scripted("slow", "fast") as ((slow, _), replicas):
        slow.seconds = 5.0
        calls, _ = make(replicas)
        with request(collector):
            assert ask(calls, replicas.all()[0]) == "fast"
        spans = collector.wait(3)
        addresses = [replica.address for replica in replicas.all()]
    root = next(span for span in spans if span.kind == SERVER)
    found = {span.attributes["twostage.attempt"]: span for span in spans if span.kind == CLIENT}
    assert {span.parent_id for span in found.values()} == {root.span_id}
    first, hedge = found["first"], found["hedge"]
    assert [first.attributes["server.address"], hedge.attributes["server.address"]] == addresses
    # Given up is no failure.
    assert (first.attributes["rpc.grpc.status_code"], first.status) == (1, 0)
    assert (hedge.attributes["rpc.grpc.status_code"], hedge.status) == (0, 0)
    assert root.start_ns <= first.start_ns <= hedge.start_ns <= hedge.end_ns <= root.end_ns


def test_steps_stand_where_they_were_measured() -> None:
    with collecting() as collector:
        with request(collector):
            began = time.perf_counter() - 1.0
            current.steps(began, {"gather": 100.0, "model_server": 300.0, "blend": 50.0}, without="model_server")
        spans = {span.name: span for span in collector.wait(3)}
    gather, blend = spans["gather"], spans["blend"]
    assert gather.end_ns - gather.start_ns == pytest.approx(100e6)
    # Placed by two clocks that are read one after the other.
    assert blend.start_ns - gather.end_ns == pytest.approx(300e6, abs=50e6)
    assert gather.parent_id == blend.parent_id == spans["test.Asker/Ask"].span_id


def test_outside_a_traced_request_nothing_happens() -> None:
    assert call_span(ranking_pb2.RankRequest(), "a:1") is None
    assert current.exemplar() is None
    current.steps(0.0, {"search": 1.0})
    current.step("user", 0.0, 1.0)


def test_the_next_request_of_a_thread_inherits_no_span() -> None:
    with collecting() as collector, request(collector):
        assert current.current() is not None
    assert current.current() is None


def test_a_message_tells_the_method_that_takes_it() -> None:
    expected = {
        gateway_pb2.RecommendRequest: "twostage.v1.RecommendationService/Recommend",
        retrieval_pb2.RetrieveRequest: "twostage.v1.RetrievalService/Retrieve",
        retrieval_pb2.RetrievalServiceSimilarItemsRequest: "twostage.v1.RetrievalService/SimilarItems",
        ranking_pb2.RankRequest: "twostage.v1.RankingService/Rank",
        StringValue: "google.protobuf.StringValue",
    }
    assert {kind: method_of(kind()) for kind in expected} == expected


def test_each_message_of_the_contracts_is_taken_by_one_method() -> None:
    for file in (gateway_pb2, retrieval_pb2, ranking_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            taken = [method.input_type.full_name for method in service.methods]
            assert len(set(taken)) == len(taken)


def test_a_program_that_traces_itself_goes_on_at_the_gateway() -> None:
    assert trace_of_caller() is None
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("program")
    with tracer.start_as_current_span("page") as span:
        context = span.get_span_context()
        (header,) = trace_of_caller() or ()
    assert header[0] == "traceparent"
    assert header[1].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
