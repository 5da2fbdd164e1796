from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.bodies import read_message, write_message
from twostage.errors import InvalidField
from twostage.v1 import gateway_pb2


def read(body: bytes) -> gateway_pb2.RecommendRequest:
    return read_message(body, gateway_pb2.RecommendRequest)


@pytest.mark.parametrize("body", [b'{"userId": "ann", "count": 3}', b'{"user_id": "ann", "count": "3"}'])
def test_fields_may_be_spelled_either_way(body: bytes) -> None:
    assert read(body) == gateway_pb2.RecommendRequest(user_id="ann", count=3)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"filter": null}'])
def test_nothing_said_is_an_empty_message(body: bytes) -> None:
    assert read(body) == gateway_pb2.RecommendRequest()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"a"', "body"),
        (b"\xff\xfe{\x00}\x00", "body"),
        (b"\xef\xbb\xbf{}", "body"),
        (b"[" * 100_000, "body"),
        (b'{"filter":' * 100_000, "body"),
        (b'{"count": 1, "count": 2}', "body"),
        (b'{"count": "x"}', "count"),
        (b'{"count": 3.5}', "count"),
        (b'{"count": 99999999999}', "count"),
        (b'{"userid": "ann"}', "userid"),
        (b'{"user_id": "\\ud800"}', "user_id"),
        (b'{"filter": "\\ud800"}', "body"),
        (b'{"\\ud800": 1}', "body"),
        (b'{"blend": {"\\ud800": 1}}', "blend.key"),
        (b'{"blend": {"a": NaN}}', "blend[a]"),
        (b'{"recentItemIds": ["a", null]}', "recentItemIds[1]"),
        (b'{"context": {"time": "yesterday"}}', "context.time"),
        (b'{"filter": {"conditions": [{"attribute": 3}]}}', "filter.conditions.attribute"),
        (b'{"filter": {"conditions": [{}, {"attr": 3}]}}', "filter.conditions[1].attr"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_the_field(body: bytes, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(body)
    assert [each.field for each in refused.value.violations] == [field]


def test_many_names_of_which_one_stands_twice_are_refused_in_no_time() -> None:
    names = ",".join(f'"{number}":0' for number in range(200_000))
    started = time.process_time()
    with pytest.raises(InvalidField, match="'199999 twice'"):
        read(f'{{{names},"199999":0}}'.encode())
    # With the square of their number it was half an hour.
    assert time.process_time() - started < 5


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=64), st.text(max_size=64).map(str.encode)))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with suppress(InvalidField):
        assert isinstance(read(body), gateway_pb2.RecommendRequest)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
_NAMES = st.sampled_from([field.json_name for field in gateway_pb2.RecommendRequest.DESCRIPTOR.fields])


@settings(deadline=None)
@given(st.dictionaries(_NAMES, _JSON, max_size=4))
def test_whatever_stands_in_a_known_field_is_read_or_refused(body: dict[str, object]) -> None:
    with suppress(InvalidField):
        assert isinstance(read(json.dumps(body).encode()), gateway_pb2.RecommendRequest)


def test_an_answer_is_the_standard_json_of_its_message() -> None:
    response = gateway_pb2.RecommendResponse(generation=2**40, rung="RUNG_POPULAR")
    response.recommendations.add(item_id="ü", score=0.1)
    written = write_message(response)
    assert json.loads(written) == {
        "generation": str(2**40),
        "rung": "RUNG_POPULAR",
        "recommendations": [{"itemId": "ü", "score": 0.1}],
    }
    assert json_format.Parse(written, gateway_pb2.RecommendResponse()) == response
