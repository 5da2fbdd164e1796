"""A link to a Redis of the tests, and events for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gateway.engine.taste import TasteRule
from gateway.users.location import RedisAddress
from gateway.users.redis_link import RedisLink
from gateway.users.store import NewEvent
from tests.unit.gateway.catalogue import SCHEMA

RULE = TasteRule(SCHEMA)
# Patience for a busy machine where a test is not about time.
CALM = 10.0


def link(port: int, **options: Any) -> RedisLink:
    return RedisLink(RedisAddress("127.0.0.1", port), **{"timeout_seconds": CALM, **options})


def event(number: int, user_id: str = "ann") -> NewEvent:
    return NewEvent(f"e{number}", user_id, f"i{number}", "to_read", None, number)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
