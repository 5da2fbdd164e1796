from __future__ import annotations

import time
from dataclasses import dataclass

from twostage.messages.status import StatusWriter
from twostage.v1 import common_pb2


@dataclass(frozen=True)
class Held:
    number: int = 7
    item_count: int = 200


def test_the_status_tells_what_is_held_and_since_when() -> None:
    writer = StatusWriter("retrieval", "1.2", {"faiss-cpu": "1.9"})
    time.sleep(0.01)
    status = writer.write(Held())
    assert (status.service, status.version, status.serving, status.detail) == ("retrieval", "1.2", True, "")
    assert list(status.generations) == [common_pb2.GenerationStatus(generation=7, item_count=200, active=True)]
    assert dict(status.libraries) == {"faiss-cpu": "1.9"}
    assert 0.01 <= status.uptime_seconds < 5


def test_the_status_tells_what_is_waited_for_while_nothing_is_held() -> None:
    writer = StatusWriter("ranking", "1.2", {})
    assert (writer.write(None).serving, writer.write(None).detail) == (False, "loading")
    status = writer.write(None, "waiting: a model")
    assert (status.detail, list(status.generations)) == ("waiting: a model", [])
