from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pymilvus", reason="pymilvus is not installed")

from pymilvus.client.prepare import Prepare

from retrieval_service.milvus.address import MilvusAddress
from retrieval_service.milvus.collection import IndexForm
from retrieval_service.milvus.search_calls import MAX_LIMIT, SearchCalls, search_depth


def test_the_request_is_the_one_that_pymilvus_makes() -> None:
    vector = np.random.default_rng(0).normal(size=16).astype(np.float32)
    calls = SearchCalls(MilvusAddress.parse("http://127.0.0.1:1"), "127.0.0.1:1", "books")
    ours = calls.request(vector, 500, "row not in [1,2]", {"nprobe": 9})
    calls.close()
    theirs = Prepare.search_requests_with_expr(
        "books",
        "vector",
        {"metric_type": "IP", "params": {"nprobe": 9}},
        500,
        data=[vector],
        expr="row not in [1,2]",
        use_default_consistency=False,
        consistency_level=3,
        guarantee_timestamp=1,
    )
    for field in ("collection_name", "dsl", "dsl_type", "placeholder_group", "nq", "guarantee_timestamp"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert (ours.consistency_level, ours.use_default_consistency) == (3, theirs.use_default_consistency)
    our_parameters, their_parameters = (
        {pair.key: pair.value for pair in request.search_params} for request in (ours, theirs)
    )
    depths = [json.loads(parameters.pop("params")) for parameters in (our_parameters, their_parameters)]
    assert depths[0].items() <= depths[1].items()
    assert our_parameters.items() <= their_parameters.items()


def test_an_inverted_file_looks_at_eight_times_what_is_wanted_and_never_at_more_than_there_is() -> None:
    form = IndexForm("IVF_FLAT", "IP", list_count=1024)
    assert search_depth(form, 10, 1_000_000) == {"nprobe": 64}
    assert search_depth(form, 50_000, 1_000_000) == {"nprobe": 410}
    assert search_depth(form, MAX_LIMIT, 20_000) == {"nprobe": 1024}
    assert search_depth(form, 10, 1_000_000, effort=0.5) == {"nprobe": 32}


def test_a_graph_walks_at_least_as_far_as_the_limit() -> None:
    form = IndexForm("HNSW", "IP")
    assert search_depth(form, 500, 1_000_000) == {"ef": 1000}
    assert search_depth(form, 500, 1_000_000, effort=0.01) == {"ef": 500}
    assert search_depth(IndexForm("AUTOINDEX", "IP"), 500, 1_000_000) == {}
