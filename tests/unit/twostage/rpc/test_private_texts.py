from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostage.rpc.private_texts import CONCEALED, concealed_traceback, private_texts
from twostage.v1 import gateway_pb2


def test_people_are_found_wherever_a_request_names_them() -> None:
    recommend = gateway_pb2.RecommendRequest(user_id="ann", recent_item_ids=["i1"], blend={"rated": 1.0})
    assert private_texts(recommend) == ("ann",)
    assert private_texts(gateway_pb2.ExplainRequest(request=recommend, item_id="i2")) == ("ann",)
    events = [gateway_pb2.Event(user_id=user_id, item_id="i") for user_id in ("bob", "eve", "bob")]
    assert private_texts(gateway_pb2.RecordEventsRequest(events=events)) == ("bob", "eve")
    assert private_texts(gateway_pb2.RecommendRequest()) == ()
    assert private_texts(None) == private_texts(b"user_id") == ()


def thrown(message: str) -> BaseException:
    try:
        try:
            raise KeyError(message)  # noqa: TRY301 - the cause
        except KeyError as error:
            raise RuntimeError(f"about {message}") from error
    except RuntimeError as error:
        return error


def test_an_error_that_says_nothing_private_is_left_as_it_is() -> None:
    assert concealed_traceback(thrown("ann"), ()) is None
    assert concealed_traceback(thrown("nothing"), ("somebody",)) is None


def test_people_are_concealed_in_an_error_and_in_its_cause() -> None:
    text = concealed_traceback(thrown("ann@example.org"), ("ann@example.org",))
    assert text is not None
    assert "ann@example" not in text
    assert f"KeyError: '{CONCEALED}'" in text
    assert f"RuntimeError: about {CONCEALED}" in text
    assert "in thrown" in text


@pytest.mark.parametrize("user_id", ["ünï-cödé", "it's", "both ' and \"", "back\\slash", "tab\tand\nline"])
def test_escaped_forms_are_concealed_too(user_id: str) -> None:
    request = gateway_pb2.RecommendRequest(user_id=user_id)
    for message in (user_id, repr(user_id), ascii(user_id), str(request)):
        text = concealed_traceback(thrown(message), (user_id,))
        assert text is not None
        for form in (user_id, repr(user_id)[1:-1], ascii(user_id)[1:-1]):
            assert form not in text


def test_a_short_id_is_concealed_where_it_stands_alone_and_words_stay_whole() -> None:
    text = concealed_traceback(thrown("u"), ("u",))
    assert text is not None
    assert f"RuntimeError: about {CONCEALED}" in text


@given(st.text(min_size=4, max_size=40, alphabet=st.characters(min_codepoint=0x100, exclude_categories=["Cs"])))
def test_no_id_gets_through(user_id: str) -> None:
    text = concealed_traceback(thrown(user_id), (user_id,))
    assert text is not None
    assert user_id not in text
