"""What can be tried of a rolling update where there are no network namespaces: replicas at fixed addresses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.integration.cluster.namespaces import why_not
from tests.integration.cluster.pods import METHODS
from tests.integration.gateway.fleet import Callers, processes, until
from twostage.client import Client
from twostage.v1 import gateway_pb2

pytestmark = pytest.mark.skipif(why_not() is None, reason="test_cluster.py does more, in network namespaces")


def test_every_replica_is_ended_and_started_again_in_its_place_and_nobody_notices(tmp_path: Path) -> None:
    with processes(tmp_path) as fleet, Client(fleet.address, timeout_seconds=5) as client:
        callers = Callers(client)
        with callers.asking():
            callers.more(20)
            stages = {METHODS["retrieval"]: fleet.retrieval, METHODS["ranking"]: fleet.ranking}
            for method, replica in [(method, each) for method, replicas in stages.items() for each in replicas]:
                replica.terminate()
                assert replica.wait_stopped() == 0
                replica.start()
                replica.wait_serving()
                # The next one goes when this one was found again, which takes up to two seconds.
                until(partial(fleet.metric, replica, "twostage_requests_total", method=method, code="OK"))
        assert not callers.errors
        lower = [answer.rung_reason for answer in callers.answers if answer.rung != gateway_pb2.RUNG_FULL]
        assert len(lower) <= 0.02 * len(callers.answers), lower
