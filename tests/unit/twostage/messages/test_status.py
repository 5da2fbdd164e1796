from __future__ import annotations

import time
from dataclasses import dataclass

from twostage.messages.status import StatusWriter
from twostage.v1 import common_pb2


@dataclass(frozen=True)
class Refused:
    number: int
    reason: str = "damaged"


@dataclass(frozen=True)
class Held:
    number: int = 7
    item_count: int = 200


def test_the_status_tells_what_is_held_and_since_when() -> None:
    writer = StatusWriter("retrieval", "1.2", {"faiss-cpu": "1.9"})
    time.sleep(0.01)
    status = writer.write([Held()])
    assert (status.service, status.version, status.serving, status.detail) == ("retrieval", "1.2", True, "")
    assert list(status.generations) == [common_pb2.GenerationStatus(generation=7, item_count=200, active=True)]
    assert dict(status.libraries) == {"faiss-cpu": "1.9"}
    assert 0.01 <= status.uptime_seconds < 5


def test_the_status_tells_what_is_waited_for_while_nothing_is_held() -> None:
    writer = StatusWriter("ranking", "1.2", {})
    assert (writer.write(()).serving, writer.write(()).detail) == (False, "loading")
    status = writer.write((), "waiting: a model")
    assert (status.detail, list(status.generations)) == ("waiting: a model", [])


def test_generations_are_told_the_newest_first_with_the_active_one_marked() -> None:
    status = StatusWriter("retrieval", "1.2", {}).write([Held(6), Held(7, 300)], preparing=8)
    assert [(held.generation, held.item_count, held.active) for held in status.generations] == [
        (7, 300, False),
        (6, 200, True),
    ]
    assert status.preparing_generation == 8


def test_at_most_ten_refused_generations_are_told_those_of_the_highest_numbers() -> None:
    refused = [Refused(number, f"{number} " + "x" * 1000) for number in range(1, 13)]
    status = StatusWriter("retrieval", "1.2", {}).write([Held()], refused=refused)
    assert [refusal.generation for refusal in status.refused] == list(range(12, 2, -1))
    assert [refusal.reason.partition(" ")[0] for refusal in status.refused] == [str(n) for n in range(12, 2, -1)]
    assert max(len(refusal.reason) for refusal in status.refused) == 300
