"""A real gateway before a real Redis that is killed, stopped, slowed and started again under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.ports import free_port
from tests.redis_server import LASTING, RedisServer, needs_redis
from tests.unit.gateway.catalogue import publish_items
from twostage.client import Client, GatewayUnavailable, new_event
from twostage.processes import ServiceProcess

pytestmark = needs_redis

ITEM_COUNT = 60
COUNT = 10
UNAVAILABLE = "user store unavailable"
PEOPLE = tuple(f"mrs-remarkable-{number}" for number in range(4))


@dataclass
class Place:
    redis: RedisServer
    gateway: ServiceProcess
    lines: list[str]

    @property
    def address(self) -> str:
        return str(self.gateway.announcement["address"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    store = tmp_path_factory.mktemp("chaos") / "store"
    publish_items(store, popularity=[float(ITEM_COUNT - row) for row in range(ITEM_COUNT)])
    lines: list[str] = []
    # The stages are not there: popular items that were not seen answer, which is all that this is about.
    nobody = f"127.0.0.1:{free_port()}"
    with RedisServer(LASTING) as redis:
        gateway = ServiceProcess.python(
            "gateway",
            *("--store", str(store), "--port", "0", "--metrics-port", "0", "--users", redis.url),
            *("--retrieval", nobody, "--ranking", nobody, "--log-requests", "all"),
            name="gateway",
            on_line=lambda _, line: lines.append(line),
        )
        gateway.start()
        gateway.wait_serving()
        try:
            yield Place(redis, gateway, lines)
        finally:
            gateway.terminate()
            gateway.wait_stopped()
    assert not [line for line in lines if "Traceback" in line]
    assert not [line for line in lines if "mrs-remarkable" in line], "ids of people stay out of the log"


@dataclass
class Load:
    """People who ask and do things, each in a thread, until they are told to stop."""

    place: Place
    answered_count: int = 0
    without_store_count: int = 0
    refused_for: set[str] = field(default_factory=set)
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    faults: list[BaseException] = field(default_factory=list)
    longest_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(person,)) for person in PEOPLE]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.faults:
            raise self.faults[0]

    def _run(self, person: str) -> None:
        try:
            with Client(self.place.address, timeout_seconds=10) as client:
                while not self._stop.is_set():
                    self._act(client, person)
        except BaseException as fault:  # noqa: BLE001 - raised by the test's own thread
            self.faults.append(fault)

    def _act(self, client: Client, person: str) -> None:
        acknowledged = self.acknowledged.setdefault(person, set())
        event = new_event(person, f"i{len(acknowledged) % ITEM_COUNT}", "to_read")
        try:
            assert client.record([event]).accepted_count == 1
            acknowledged.add(event.event_id)
        except GatewayUnavailable as refused:
            self.refused_for.add(refused.reason)
        start = time.monotonic()
        answer = client.recommend(person, count=COUNT, include_seen=True)
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - start)
        assert len(answer.recommendations) == COUNT
        self.answered_count += 1
        self.without_store_count += UNAVAILABLE in answer.rung_reason


def is_known(client: Client) -> bool:
    return UNAVAILABLE not in client.recommend(PEOPLE[0], count=COUNT, include_seen=True).rung_reason


def killed(redis: RedisServer) -> None:
    redis.kill()
    time.sleep(1.0)
    redis.start()


def stopped(redis: RedisServer) -> None:
    redis.pause()
    time.sleep(1.5)
    redis.resume()


def slowed(redis: RedisServer) -> None:
    # Three quarters of the time it does nothing, for longer than a read waits.
    for _ in range(5):
        redis.pause()
        time.sleep(0.3)
        redis.resume()
        time.sleep(0.1)


def restarted(redis: RedisServer) -> None:
    for _ in range(3):
        redis.kill()
        redis.start()
        time.sleep(0.2)


@pytest.mark.parametrize("fault", [killed, stopped, slowed, restarted])
def test_everybody_is_answered_and_nothing_acknowledged_is_lost(
    place: Place, fault: Callable[[RedisServer], None]
) -> None:
    with Client(place.address, timeout_seconds=10) as client:
        until(lambda: is_known(client))
        for person in PEOPLE:
            client.record([new_event(person, "i0", "to_read")])
            client.delete_user(person)
        with Load(place) as load:
            until(lambda: load.answered_count > 50)
            fault(place.redis)
            recovering = time.monotonic()
            until(lambda: is_known(client))
            # The rest after a failure is 0.5 s.
            assert time.monotonic() - recovering < 2.5
            answered_count = load.answered_count
            until(lambda: load.answered_count > answered_count + 20)
        if fault is not restarted:
            assert load.without_store_count, "else the fault was none"
        assert load.refused_for <= {"NOT_READY"}
        # A read waits for 0.1 s at most at each of its steps; a gateway that waited for Redis again and again would
        # reach its own bound of 2 s.
        assert load.longest_seconds < 1.5
        for person in PEOPLE:
            kept = {event.event_id for event in client.get_user(person, max_event_count=10_000).events}
            assert load.acknowledged[person] <= kept
            assert len(load.acknowledged[person]) > 5


def test_a_stopped_redis_does_not_cost_each_request_a_timeout(place: Place) -> None:
    with Client(place.address, timeout_seconds=10) as client:
        until(lambda: is_known(client))
        place.redis.pause()
        try:
            seconds: list[float] = []
            while sum(seconds) < 2.0:
                start = time.monotonic()
                answer = client.recommend(PEOPLE[0], count=COUNT, include_seen=True)
                seconds.append(time.monotonic() - start)
                assert UNAVAILABLE in answer.rung_reason
        finally:
            place.redis.resume()
        # One in each rest of 0.5 s tries; the others cost what they cost without a store.
        slow = [each for each in seconds if each >= 0.1]
        assert len(seconds) > 40
        assert len(slow) <= len(seconds) / 4
        until(lambda: is_known(client))


def test_whether_redis_is_there_or_not_the_gateway_starts(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish_items(store, popularity=[1.0] * ITEM_COUNT)
    nobody = f"127.0.0.1:{free_port()}"
    gateway = ServiceProcess.python(
        "gateway",
        *("--store", str(store), "--port", "0", "--metrics-port", "0", "--users", f"redis://{nobody}"),
        *("--retrieval", nobody, "--ranking", nobody),
        name="gateway",
        on_line=lambda *_: None,
    )
    gateway.start()
    try:
        gateway.wait_serving()
        with Client(str(gateway.announcement["address"]), timeout_seconds=10) as client:
            answer = client.recommend(PEOPLE[0], count=COUNT)
            assert UNAVAILABLE in answer.rung_reason
            assert len(answer.recommendations) == COUNT
            with pytest.raises(GatewayUnavailable, match="user store cannot be written"):
                client.record([new_event(PEOPLE[0], "i0", "to_read")])
            with pytest.raises(GatewayUnavailable, match="user store cannot be read"):
                client.get_user(PEOPLE[0])
            with pytest.raises(GatewayUnavailable, match="user store cannot be written"):
                client.delete_user(PEOPLE[0])
    finally:
        gateway.terminate()
        gateway.wait_stopped()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
