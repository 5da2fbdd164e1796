from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from training.commands.options import NameList, NegativeCounts
from training.commands.train import train


def converted(kind: NameList | NegativeCounts, text: str) -> object:
    return kind.convert(text, None, None)


def test_names_are_split_at_commas() -> None:
    assert converted(NameList(), "content, dcn_v2") == ("content", "dcn_v2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected names separated by commas, got ''"),
        ("content,,din", "expected names separated by commas"),
        ("din,content,din", "expected each name once, got 'din' 2 times"),
    ],
)
def test_lists_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(click.BadParameter, match=message):
        converted(NameList(), text)


def test_negatives_not_named_are_none() -> None:
    assert converted(NegativeCounts(), "hard=40,in_batch=8") == {
        "negative_count": 40,
        "random_negative_count": 0,
        "popularity_negative_count": 0,
        "in_batch_negative_count": 8,
        "shown_negative_count": 0,
    }


@pytest.mark.parametrize(
    "text", ["", "hard", "hard=-1", "hard=1,hard=2", "soft=3", "hard=2001", "hard=1.5", "hard=0,random=0", "hard=1,"]
)
def test_negatives_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected"):
        converted(NegativeCounts(), text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rankers", "contents"], "rankers: expected names among content,"),
        (["--rankers", ""], "expected names separated by commas, got ''"),
        (["--rankers", "din,din"], "expected each name once, got 'din' 2 times"),
        (["--ranker-loss", "hinge"], "'hinge' is not one of 'mixed', 'pointwise', 'pairwise', 'listwise'"),
        (["--ranker-negatives", "easy=3"], "kinds hard, random, popularity, in_batch"),
    ],
)
def test_train_refuses_what_it_cannot_do_before_it_reads_any_data(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    answer = CliRunner().invoke(train, ["--data", str(tmp_path), "--store", str(tmp_path / "store"), *arguments])
    assert answer.exit_code != 0
    assert message in answer.output
    assert not (tmp_path / "store").exists()
