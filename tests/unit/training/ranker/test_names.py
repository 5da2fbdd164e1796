from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.training.ranker.made_examples import SIZES
from tests.unit.training.tiny_dataset import ACTIONS
from training.errors import RankersInvalid
from training.progress import Silent
from training.ranker.families import registry
from training.ranker.families.registry import FAMILIES
from training.ranker.names import DEFAULT_RANKERS, ranker_names, suitable_rankers
from twostage.features.actions import Action, ActionSchema


def test_the_default_is_the_content_ranker_alone() -> None:
    assert ranker_names(DEFAULT_RANKERS) == ("content",)


def test_names_keep_their_order_and_all_adds_the_others() -> None:
    assert ranker_names(["dcn_v2", "content"]) == ("dcn_v2", "content")
    assert ranker_names(["all"]) == FAMILIES
    named = ranker_names(["dcn_v2", "all"])
    assert named[0] == "dcn_v2"
    assert sorted(named) == sorted(FAMILIES)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "expected at least one of content, .*, got none"),
        (["contents"], "expected names among content, .* or all, got 'contents'"),
        (["din", "content", "din"], "expected each name once, got 'din' 2 times"),
        (["all", "all"], "expected each name once, got 'all' 2 times"),
        ([""], "got ''"),
    ],
)
def test_other_names_are_refused(wanted: list[str], message: str) -> None:
    with pytest.raises(RankersInvalid, match=message):
        ranker_names(wanted)


@dataclass
class Notes(Silent):
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def without_esmm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ESMM could not do without a second action."""

    def build(family: str, *arguments: Any, **named: Any) -> None:
        if family == "esmm":
            raise ValueError("actions: expected two, got one")

    monkeypatch.setattr(registry, "build_ranker", build)


@pytest.mark.usefixtures("without_esmm")
def test_a_ranker_that_does_not_suit_the_data_is_refused_when_named_and_left_out_of_all() -> None:
    with pytest.raises(RankersInvalid, match="ranker esmm: actions: expected two, got one"):
        suitable_rankers(["content", "esmm"], ACTIONS, SIZES, Notes())
    report = Notes()
    assert "esmm" not in suitable_rankers(["all"], ACTIONS, SIZES, report)
    assert report.lines == ["without the ranker esmm: actions: expected two, got one"]


def test_every_family_suits_data_of_several_actions_and_of_one() -> None:
    one = ActionSchema((Action("bought", "bought"),))
    assert suitable_rankers(["all"], ACTIONS, SIZES, Notes()) == FAMILIES
    assert suitable_rankers(["all"], one, SIZES, Notes()) == FAMILIES
