from __future__ import annotations

from tests.collector import collecting
from tests.unit.gateway.http.faces import face

RECOMMEND = "/v1/recommend"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
ERROR = 2


def test_a_request_is_a_span_between_the_caller_and_the_gateway() -> None:
    with collecting() as collector:
        with face(trace_endpoint=collector.endpoint, grace_seconds=5.0) as one:
            assert one.ask(RECOMMEND, {}, headers=CALLER)[0] == 200
            sent = dict(one.servicer.metadata)["traceparent"]
            assert one.ask(RECOMMEND, {"userId": "boom"}, headers=CALLER)[0] == 500
            assert one.ask("/healthz", method="GET")[0] == 200
        answered, failed = collector.wait(2)
    assert (answered.service, answered.name) == ("twostage-http", "twostage.v1.RecommendationService/Recommend")
    assert (answered.trace_id, answered.parent_id) == (TRACE, "b7ad6b7169203331")
    assert sent == f"00-{TRACE}-{answered.span_id}-01"
    assert (answered.attributes["twostage.http_status"], answered.status) == (200, 0)
    assert (failed.attributes["twostage.http_status"], failed.status) == (500, ERROR)
