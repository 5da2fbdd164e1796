"""The retrieval service over gRPC: real server, real FAISS, real LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status

from retrieval_service.server import build
from retrieval_service.settings import RetrievalSettings
from tests.bundles import make_catalogue, make_store
from twostage.bundle.store import Store
from twostage.v1 import common_pb2, retrieval_pb2, retrieval_pb2_grpc

Request = retrieval_pb2.RetrieveRequest
SimilarRequest = retrieval_pb2.RetrievalServiceSimilarItemsRequest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("retrieval") / "store")


@pytest.fixture(scope="module")
def channel(store: Store) -> Iterator[grpc.Channel]:
    settings = RetrievalSettings(store=store.path, port=0, metrics_port=0)
    server, prepare = build(settings, structlog.get_logger())
    with server:
        prepare()
        with grpc.insecure_channel(server.address) as opened:
            yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> retrieval_pb2_grpc.RetrievalServiceStub:
    return retrieval_pb2_grpc.RetrievalServiceStub(channel)


def test_candidates_are_the_nearest_of_the_catalogue(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    """A history of one item has that item's vector as its user vector, whatever the attention's weights."""
    vectors = make_catalogue().vectors.astype(np.float64)
    response = stub.Retrieve(
        Request(history=common_pb2.History(rows=[42]), exclude_rows=[42, 7], count=50, return_item_ids=True)
    )
    scores = vectors @ vectors[42]
    scores[[42, 7]] = -np.inf
    expected = np.argsort(-scores)[:50]
    assert list(response.candidates.rows) == expected.tolist()
    np.testing.assert_allclose(response.candidates.scores, scores[expected], atol=1e-5)
    assert list(response.candidates.item_ids) == [make_catalogue().item_ids[row] for row in expected]
    assert set(response.candidates.sources) == {1}
    assert response.generation == 1
    assert list(response.history_rows) == [42]
    assert not response.HasField("shortfall")
    assert [timing.stage for timing in response.timings] == ["resolve", "select", "user_tower", "search", "blend"]


def test_unknown_history_items_are_skipped_and_the_rest_counts(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    by_id = stub.Retrieve(Request(history=common_pb2.History(item_ids=["item-42", "unknown"]), count=20))
    by_row = stub.Retrieve(Request(history=common_pb2.History(rows=[42]), count=20))
    assert by_id.candidates == by_row.candidates
    assert list(by_id.history_rows) == [42]


@pytest.mark.parametrize("item_ids", [[], ["unknown"]])
def test_without_a_known_history_the_candidates_are_popular(
    stub: retrieval_pb2_grpc.RetrievalServiceStub, item_ids: list[str]
) -> None:
    popularity = make_catalogue().popularity
    response = stub.Retrieve(Request(history=common_pb2.History(item_ids=item_ids), count=30, generation=1))
    assert list(response.candidates.rows) == sorted(range(200), key=lambda row: (-popularity[row], row))[:30]
    assert set(response.candidates.scores) == {0.0}
    assert set(response.candidates.sources) == {2}


def test_what_is_missing_is_counted_and_explained(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    response = stub.Retrieve(
        Request(
            count=200,
            exclude_item_ids=["item-1", "unknown"],
            filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="tags", any_of=["poetry"])]),
        )
    )
    tags = make_catalogue().tags
    assert sorted(response.candidates.rows) == [row for row in range(200) if "poetry" in tags[row] and row != 1]
    assert response.shortfall.missing_count == 200 - len(response.candidates.rows)
    assert response.shortfall.reason == common_pb2.SHORTFALL_REASON_EXCLUDED


def test_similar_items_are_the_nearest_without_the_item_itself(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    catalogue = make_catalogue()
    request = SimilarRequest(
        item_id="item-42",
        count=30,
        exclude_item_ids=["item-7", "unknown", "item-7"],
        filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="language", any_of=["eng"])]),
    )
    response = stub.SimilarItems(request)
    scores = catalogue.vectors.astype(np.float64) @ catalogue.vectors[42]
    allowed = [row for row in range(200) if row not in (7, 42) and catalogue.languages[row] == ["eng"]]
    expected = sorted(allowed, key=lambda row: -scores[row])[:30]
    assert list(response.items.rows) == expected
    np.testing.assert_allclose(response.items.scores, scores[expected], atol=1e-5)
    assert response.generation == 1
    assert not response.HasField("shortfall")
    assert [timing.stage for timing in response.timings] == ["resolve", "select", "search", "blend"]
    request.count = 200
    assert stub.SimilarItems(request).shortfall.missing_count == 200 - len(allowed)


def test_neighbours_of_an_unknown_item_are_not_found(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    code, info, _ = failure(lambda: stub.SimilarItems(SimilarRequest(item_id="item-1234", count=5)))
    assert code is grpc.StatusCode.NOT_FOUND
    assert info == {"reason": "ITEM_NOT_FOUND", "item_id": "item-1234"}


def test_a_server_with_everything_answers_as_the_only_shard(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    request = Request(history=common_pb2.History(rows=[42]), count=50)
    whole = stub.Retrieve(request).candidates
    request.shard.with_shared_sources = True
    response = stub.Retrieve(request)
    (near,) = response.lists
    assert list(near.rows) == list(whole.rows)
    assert list(near.keys) == list(near.scores) == list(whole.scores)
    assert (response.answered_shard.index, response.answered_shard.count, response.allowed_count) == (0, 1, 200)


def test_every_candidate_tells_its_sources_and_its_rank_in_each(tmp_path: Path) -> None:
    shares = {"interest_vectors": 0.2, "neighbours": 0.2, "representatives": 0.1}
    store = make_store(tmp_path / "store", with_sources=True, source_shares=shares)
    settings = RetrievalSettings(store=store.path, port=0, metrics_port=0)
    server, prepare = build(settings, structlog.get_logger())
    clusters = make_catalogue().clusters
    read = np.concatenate([np.flatnonzero(clusters == cluster)[:6] for cluster in (1, 4)]).tolist()
    with server:
        prepare()
        with grpc.insecure_channel(server.address) as opened:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(opened)
            request = Request(
                history=common_pb2.History(rows=read), exclude_rows=read, count=60, return_source_ranks=True
            )
            columns = stub.Retrieve(request).candidates
            cold = stub.Retrieve(Request(count=60)).candidates
    assert len(columns.rows) == len(set(columns.rows)) == len(columns.sources) == 60
    by_rank = {1 << (entry.source - 1): list(entry.ranks) for entry in columns.source_ranks}
    assert set(by_rank) == {1, 16, 32, 256}
    for place, bits in enumerate(columns.sources):
        assert bits == sum(bit for bit, ranks in by_rank.items() if ranks[place])
    assert sorted(rank for rank in by_rank[32] if rank) == list(range(1, 13))
    brought = [row for row, rank in zip(columns.rows, by_rank[16], strict=True) if rank]
    assert {1, 4} <= set(clusters[brought].tolist())
    # Trending and representatives beside the popular.
    assert {bit for bits in cold.sources for bit in (2, 64, 128, 256) if bits & bit} == {2, 64, 256}


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, dict[str, str], str]:
    """Code, ErrorInfo's metadata with its reason, and message."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code(), {"reason": info.reason, **info.metadata}, status.message


def test_another_generation_is_refused_and_the_held_one_named(
    stub: retrieval_pb2_grpc.RetrievalServiceStub,
) -> None:
    code, info, _ = failure(lambda: stub.Retrieve(Request(count=1, generation=2)))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert info == {"reason": "GENERATION_NOT_LOADED", "wanted": "2", "held": "1"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(), "count"),
        (Request(count=5, history=common_pb2.History(rows=[200])), "history.rows[0]"),
        (
            Request(count=5, filter=common_pb2.Filter(conditions=[common_pb2.Condition(attribute="colour")])),
            "filter.conditions[0].attribute",
        ),
    ],
)
def test_bad_input_is_refused_by_its_field_and_the_server_goes_on(
    stub: retrieval_pb2_grpc.RetrievalServiceStub, request_: Request, field: str
) -> None:
    code, info, message = failure(lambda: stub.Retrieve(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert info == {"reason": "INVALID_FIELD", "fields": field}
    assert message.startswith(f"{field}: expected ")
    assert len(stub.Retrieve(Request(count=5)).candidates.rows) == 5


def test_status_tells_what_is_held(stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
    status = stub.GetStatus(retrieval_pb2.RetrievalServiceGetStatusRequest()).status
    assert (status.service, status.serving, status.detail) == ("retrieval", True, "")
    assert [(g.generation, g.item_count, g.active) for g in status.generations] == [(1, 200, True)]
    assert {"faiss-cpu", "ai-edge-litert"} <= set(status.libraries)
    assert status.uptime_seconds > 0


def test_status_is_told_while_loading_and_requests_are_refused(store: Store) -> None:
    server, _ = build(RetrievalSettings(store=store.path, port=0, metrics_port=0), structlog.get_logger())
    server.start()
    try:
        with grpc.insecure_channel(server.address) as channel:
            stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
            status = stub.GetStatus(retrieval_pb2.RetrievalServiceGetStatusRequest()).status
            assert (status.serving, status.detail, list(status.generations)) == (False, "loading", [])
            code, info, _ = failure(lambda: stub.Retrieve(Request(count=1)))
            assert (code, info["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    finally:
        server.stop(0)
