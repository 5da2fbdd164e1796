from __future__ import annotations

from gateway.adapters.candidates import CandidateMessage, source_names
from twostage.v1 import retrieval_pb2

RANKS = retrieval_pb2.SourceRanks


def test_sources_go_by_their_names_in_the_contract() -> None:
    assert source_names(2 | 4) == ("popular", "interest_tags")
    assert source_names(0b111111111) == (
        "user_vector",
        "popular",
        "interest_tags",
        "included",
        "interest_vectors",
        "neighbours",
        "trending",
        "new",
        "representatives",
    )


def test_sources_of_a_newer_service_are_left_out() -> None:
    assert source_names(1 | 8 | 1 << 20) == ("user_vector", "included")
    assert source_names(0) == ()
    columns = retrieval_pb2.CandidateColumns(
        rows=[1, 2],
        source_ranks=[
            RANKS(source="SOURCE_NEIGHBOURS", ranks=[0, 3]),
            RANKS(source="SOURCE_NEW", ranks=[1, 2]),
            RANKS(source=99, ranks=[4, 4]),  # type: ignore[arg-type] # of a newer contract
        ],
    )
    message = CandidateMessage(columns)
    assert message.source_ranks(0) == {"new": 1}
    assert message.source_ranks(1) == {"neighbours": 3, "new": 2}
