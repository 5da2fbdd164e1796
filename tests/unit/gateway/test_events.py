from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.engine.catalogue import Catalogue
from gateway.events import EventReader, write_record_response
from tests.unit.gateway.catalogue import publish_items
from twostage.errors import InvalidField
from twostage.v1 import gateway_pb2


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> EventReader:
    path: Path = tmp_path_factory.mktemp("store")
    return EventReader([Catalogue(publish_items(path, popularity=[1.0] * 3))])


def event(**fields: Any) -> gateway_pb2.Event:
    return gateway_pb2.Event(**{"event_id": "e", "user_id": "u", "item_id": "i1", "action": "rated", **fields})


def test_a_good_event_is_taken_and_happens_now_unless_it_says_when(reader: EventReader) -> None:
    dated = event(action="liked", value=4.5, request_id="r")
    dated.time.seconds = 55
    events, rejections = reader.read([event(), dated], lambda: 1234.5)
    assert not rejections
    assert [e.time_seconds for e in events] == [1234, 55]
    assert [e.value for e in events] == [None, 4.5]
    assert (events[1].action, events[1].request_id, events[1].item_id) == ("liked", "r", "i1")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event_id": ""}, "event_id: expected 1 to 128 bytes"),
        ({"event_id": "x" * 129}, "event_id: expected 1 to 128 bytes"),
        ({"user_id": ""}, "user_id: expected 1 to 256 bytes"),
        ({"item_id": "nix"}, "item_id: expected an item of generation 1, received 'nix'"),
        ({"item_id": "x" * 257}, "item_id: expected 1 to 256 bytes"),
        ({"action": "sold"}, "action: expected one of rated, to_read, liked, received 'sold'"),
        ({"value": float("inf")}, "value: expected a finite number that a 32-bit float holds, received inf"),
        ({"value": float("nan")}, "value: expected a finite number that a 32-bit float holds, received nan"),
        ({"value": 1e39}, "value: expected a finite number that a 32-bit float holds, received 1e+39"),
        ({"value": -3.5e38}, "value: expected a finite number that a 32-bit float holds, received -3.5e+38"),
        ({"request_id": "x" * 129}, "request_id: expected 0 to 128 bytes"),
    ],
)
def test_a_fault_rejects_that_event_only(reader: EventReader, fields: dict[str, object], reason: str) -> None:
    events, rejections = reader.read([event(event_id="a"), event(**fields), event(event_id="c")], lambda: 0.0)
    assert [e.event_id for e in events] == ["a", "c"]
    response = write_record_response(len(events), rejections)
    assert response.accepted_count == 2
    assert response.rejected[0].index == 1
    assert response.rejected[0].reason.startswith(reason)


def test_a_time_before_1970_is_rejected(reader: EventReader) -> None:
    early = event()
    early.time.seconds = -1
    _, rejections = reader.read([early], lambda: 0.0)
    assert rejections[0].reason.startswith("time: expected a time from 1970")


@pytest.mark.parametrize("count", [0, 1001])
def test_no_events_and_too_many_are_refused(reader: EventReader, count: int) -> None:
    with pytest.raises(InvalidField, match=f"events: expected 1 to 1000 entries, received {count}$"):
        reader.read([event()] * count, lambda: 0.0)


def test_the_largest_32_bit_floats_are_taken(reader: EventReader) -> None:
    largest = float(np.finfo(np.float32).max)
    events, rejections = reader.read([event(value=largest), event(value=-largest)], lambda: 0.0)
    assert not rejections
    assert [e.value for e in events] == [largest, -largest]


def test_an_item_or_an_action_of_any_generation_held_is_taken(tmp_path: Path) -> None:
    older = publish_items(tmp_path, popularity=[1.0] * 4)
    newer = publish_items(tmp_path, popularity=[1.0] * 2, recorded_actions=["rated", "to_read", "bought"])
    reader = EventReader([Catalogue(newer), Catalogue(older)])
    messages = [event(item_id="i1", action="bought"), event(item_id="i3"), event(item_id="i4")]
    events, rejections = reader.read(messages, lambda: 0.0)
    assert [(e.item_id, e.action) for e in events] == [("i1", "bought"), ("i3", "rated")]
    assert [(r.index, r.reason) for r in rejections] == [
        (2, "item_id: expected an item of generation 2 or 1, received 'i4'")
    ]
