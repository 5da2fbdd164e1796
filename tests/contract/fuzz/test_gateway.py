"""Every public method of a real gateway with real stages behind it, asked by chance: never a crash, never INTERNAL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # ships no type information
from grpc_status import rpc_status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.bundles import CLUSTERS, LANGUAGES
from tests.contract.fuzz.message_maker import MessageMaker
from tests.integration.gateway.servers import Servers, running
from twostage.v1 import gateway_pb2

pytestmark = pytest.mark.slow

SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"]
METHODS = tuple(SERVICE.methods_by_name)
# Of each method: so many draws of a seed, and so many messages from each.
EXAMPLE_COUNT = 150
MESSAGES_PER_EXAMPLE = 20

_ITEMS = [f"item-{number}" for number in range(0, 200, 7)]
_USERS = ["0", "1", "2", "user-1", "someone"]
LIKELY: Mapping[str, Sequence[Any]] = {
    "user_id": _USERS,
    "item_id": _ITEMS,
    "event_id": [f"event-{number}" for number in range(2_000)],
    "recent_item_ids": _ITEMS,
    "exclude_item_ids": _ITEMS,
    "pinned_item_ids": _ITEMS,
    "interest_tags": CLUSTERS,
    "count": [1, 2, 10, 20, 199, 200],
    "max_event_count": [0, 1, 1_000, 10_000],
    "attribute": ["tags", "languages", "year"],
    "attributes": ["tags", "languages", "year"],
    "any_of": [*CLUSTERS, *LANGUAGES],
    "none_of": [*CLUSTERS, *LANGUAGES],
    "min": [-1.0, 0.0, 1950.0],
    "max": [2_000.0, 3_000.0],
    "max_count": [1, 2, 200],
    "strength": [0.0, 0.3, 1.0],
    "ranker": ["", "default"],
    "action": ["rated", "to_read"],
    "value": [1.0, 5.0, 0.5],
    "seconds": [0, 1_700_000_000],
    "nanos": [0, 999_999_999],
    "BlendEntry.key": ["rated", "liked", "to_read"],
    "BlendEntry.value": [0.0, 0.25, 1.0],
    "AttributesEntry.key": ["weather", "store"],
    "AttributesEntry.value": ["sunny", "7"],
}
NEEDED = ("item_id", "event_id", "user_id", "action", "request", "events")
# What a caller may be told; anything else is a defect.
_TOLD = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running(tmp_path_factory.mktemp("fuzz")) as servers:
        yield servers
    assert not [line for line in servers.lines if "Traceback" in line]


@pytest.fixture(scope="module")
def channel(servers: Servers) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(servers.address, options=[("grpc.max_send_message_length", 2**26)]) as opened:
        yield opened


@pytest.fixture(scope="module")
def outcomes() -> Counter[tuple[str, str]]:
    return Counter()


class Asking:
    """Asks one method with bytes, and looks at what comes back.

    Args:
        channel: To the gateway.
        name: The method's name.
        outcomes: Counts answers by method and code.
    """

    def __init__(self, channel: grpc.Channel, name: str, outcomes: Counter[tuple[str, str]]) -> None:
        method = SERVICE.methods_by_name[name]
        self.request_type = GetMessageClass(method.input_type)
        self._response_type = GetMessageClass(method.output_type)
        self._call: Any = channel.unary_unary(f"/{SERVICE.full_name}/{name}")
        self._name = name
        self._outcomes = outcomes
        self._counting = threading.Lock()

    def ask(self, content: bytes) -> None:
        """Sends a message; fails when the answer is none that the contract knows."""
        try:
            response = self._response_type.FromString(self._call(content, timeout=20))
        except grpc.RpcError as error:
            self._check_refusal(content, error)
        else:
            self._count("OK")
            self._check_answer(content, response)

    def _check_refusal(self, content: bytes, error: Any) -> None:
        self._count(error.code().name)
        assert error.code() in _TOLD, f"{error.code()} {error.details()}\n{self._shown(content)}"
        status = rpc_status.from_call(error)
        assert status is not None
        infos = [each for each in status.details if each.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
        assert infos, self._shown(content)
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            request = error_details_pb2.BadRequest()
            assert any(each.Unpack(request) for each in status.details), self._shown(content)
            assert all(each.field and each.description for each in request.field_violations), self._shown(content)

    def _check_answer(self, content: bytes, response: Message) -> None:
        request = self.request_type.FromString(content)
        if isinstance(response, gateway_pb2.RecommendResponse):
            assert isinstance(request, gateway_pb2.RecommendRequest)
            ids = [each.item_id for each in response.recommendations]
            wanted = request.count if request.HasField("count") else 20
            assert len(ids) == len(set(ids)), self._shown(content)
            assert len(ids) + response.shortfall.missing_count == wanted, self._shown(content)
            assert not set(ids) & set(request.exclude_item_ids), self._shown(content)
            assert response.rung != gateway_pb2.RUNG_UNSPECIFIED
            assert response.rung == gateway_pb2.RUNG_FULL or response.rung_reason
            assert response.generation == 1
        elif isinstance(response, gateway_pb2.RecordEventsResponse):
            assert isinstance(request, gateway_pb2.RecordEventsRequest)
            assert response.accepted_count + len(response.rejected) == len(request.events), self._shown(content)

    def _count(self, code: str) -> None:
        with self._counting:
            self._outcomes[self._name, code] += 1

    def _shown(self, content: bytes) -> str:
        try:
            message = text_format.MessageToString(self.request_type.FromString(content), as_one_line=True)
        except DecodeError:
            message = content[:1_000].hex()
        return f"{self._name}: {message[:3_000]}"


@pytest.mark.parametrize("name", METHODS)
def test_no_message_breaks_a_method(name: str, channel: grpc.Channel, outcomes: Counter[tuple[str, str]]) -> None:
    asking = Asking(channel, name, outcomes)
    # Their own file may not show what is drawn twice, so nothing is kept of earlier runs.
    quick = settings(
        max_examples=EXAMPLE_COUNT,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    with ThreadPoolExecutor(4) as pool:

        @quick
        @given(seed=st.integers(0, 2**64 - 1))
        def ask(seed: int) -> None:
            maker = MessageMaker(seed, LIKELY, NEEDED)
            contents = [maker.make(asking.request_type).SerializeToString() for _ in range(MESSAGES_PER_EXAMPLE)]
            # The last few as no client would write them.
            contents[-3:] = map(maker.spoil, contents[-3:])
            list(pool.map(asking.ask, contents))

        ask()


def test_so_many_messages_were_sent_and_the_gateway_answers_as_before(
    servers: Servers, channel: grpc.Channel, outcomes: Counter[tuple[str, str]]
) -> None:
    if not {name for name, _ in outcomes} >= set(METHODS):
        pytest.skip("counts what all the methods were sent: run the whole file")
    assert sum(outcomes.values()) >= 20_000
    for name in METHODS:
        assert outcomes[name, "OK"] >= 10, f"{name} was hardly ever asked anything it could answer: {outcomes}"
    asking = Asking(channel, "Recommend", outcomes)
    asking.ask(gateway_pb2.RecommendRequest(user_id="0", count=10).SerializeToString())
    for process in (servers.gateway, servers.retrieval, servers.ranking):
        assert process.exit_code() is None
