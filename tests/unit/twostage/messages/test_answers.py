from __future__ import annotations

from enum import Enum, auto

import pytest

from twostage.messages.answers import write_shortfall, write_timings
from twostage.v1 import common_pb2, ranking_pb2


class Reason(Enum):
    EXCLUDED = auto()
    NEVER_HEARD_OF = auto()


def test_steps_are_written_in_order_and_without_transport() -> None:
    response = ranking_pb2.RankResponse()
    write_timings(response.timings, {"gather": 0.5, "model_server": 2.0}.items())
    assert list(response.timings) == [
        common_pb2.Timing(stage="gather", compute_ms=0.5),
        common_pb2.Timing(stage="model_server", compute_ms=2.0),
    ]


def test_a_shortfall_is_written_by_its_reasons_name() -> None:
    response = ranking_pb2.RankResponse()
    write_shortfall(response.shortfall, 3, Reason.EXCLUDED)
    assert response.HasField("shortfall")
    assert (response.shortfall.missing_count, response.shortfall.reason) == (3, common_pb2.SHORTFALL_REASON_EXCLUDED)


def test_a_reason_that_the_contract_does_not_know_is_a_bug() -> None:
    with pytest.raises(ValueError, match="SHORTFALL_REASON_NEVER_HEARD_OF"):
        write_shortfall(common_pb2.Shortfall(), 1, Reason.NEVER_HEARD_OF)
