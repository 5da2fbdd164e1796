from __future__ import annotations

from pathlib import Path

import pytest

from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.why import Effect, Judgement, Outcome, Step
from gateway.engine.why_rules import exclusion, filtering
from tests.unit.gateway.catalogue import publish_items
from twostage.bundle.attributes import Attributes
from twostage.bundle.filters import Condition, Filter


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Attributes:
    path: Path = tmp_path_factory.mktemp("store")
    tags = [["a", "b"], [], [f"t{n}" for n in range(8)]]
    return publish_items(path, popularity=[1, 2, 3], tags=tags, years=[1999, float("nan"), 2005]).attributes


def told(attributes: Attributes, row: int, *conditions: Condition) -> list[Judgement | Step]:
    return list(filtering(Filter(conditions), attributes, row))


def test_the_first_condition_that_refuses_is_the_last_that_is_told(attributes: Attributes) -> None:
    first, second, third = Condition("tags", any_of=("a",)), Condition("year", minimum=2000), Condition("tags")
    passed, refused = told(attributes, 0, first, second, third)
    assert isinstance(passed, Step)
    assert (passed.rule, passed.effect, passed.words) == (
        "conditions[0]",
        Effect.KEPT,
        "tags: asked for any of a, it has a, b",
    )
    assert isinstance(refused, Judgement)
    assert refused.outcome is Outcome.FILTERED
    assert refused.step == Step(
        "filter",
        "conditions[1]",
        Effect.LOST,
        "year: asked for at least 2000, it has 1999",
        {"min": 2000, "value": 1999},
    )


def test_what_an_item_does_not_have_is_said(attributes: Attributes) -> None:
    (number,) = told(attributes, 1, Condition("year", minimum=1900, maximum=float("inf")))
    assert isinstance(number, Judgement)
    assert number.step.words == "year: asked for at least 1900 and at most inf, it has no number"
    assert number.step.numbers == {"min": 1900}, "infinity asks nothing, and JSON cannot say it"
    (values,) = told(attributes, 1, Condition("tags", any_of=("a",)))
    assert isinstance(values, Judgement)
    assert values.step.words == "tags: asked for any of a, it has no value"


def test_long_lists_of_values_are_cut(attributes: Attributes) -> None:
    (step,) = told(attributes, 2, Condition("tags", any_of=("t1",), none_of=tuple(f"x{n}" for n in range(1000))))
    assert isinstance(step, Step)
    assert step.words == (
        "tags: asked for any of t1 and none of x0, x1, x2, x3, x4 and 995 more, it has t0, t1, t2, t3, t4 and 3 more"
    )


def test_an_exclusion_comes_before_what_was_seen_and_the_requests_history_before_the_stored_one() -> None:
    person = Person(excluded_rows=(1,))
    both = RecommendRequest(exclude_item_ids=["x", "i1"], recent_item_ids=["i1"])
    for request, rule, words in (
        (both, "exclude_item_ids", "exclude_item_ids[1]"),
        (RecommendRequest(recent_item_ids=["i0", "i1"]), "seen", "recent_item_ids[1]"),
        (RecommendRequest(user_id="ann"), "seen", "user store"),
    ):
        refused = exclusion(request, person, "i1", 1)
        assert isinstance(refused, Judgement)
        assert (refused.outcome, refused.step.rule) == (Outcome.EXCLUDED, rule)
        assert words in refused.step.words
        assert "ann" not in refused.step.words
    passed = exclusion(both, person, "i2", 2)
    assert isinstance(passed, Step)
    assert passed.effect is Effect.KEPT
