from __future__ import annotations

import json
from pathlib import Path

from tests.unit.training.experiments.logs import answer, event, write_log
from training.experiments.arms import arm_names, people_in_several_arms, unit_counts
from training.experiments.sample import Sample, read_sample
from twostage.impressions.log import open_log


def sample_of(tmp_path: Path, answers: list[dict[str, object]], events: list[dict[str, object]]) -> Sample:
    return read_sample(open_log(write_log(tmp_path / "log", answers, events)))


def test_events_count_for_the_answer_that_showed_their_item_to_that_person(tmp_path: Path) -> None:
    answers = [answer("r1", "anna"), answer("r2", "ben"), answer("r3", "anna")]
    events = [
        event("1", "r1", "anna", "a"),
        event("2", "r1", "anna", "c"),
        event("3", "r1", "anna", "a"),
        event("3", "r1", "anna", "a"),
        event("4", "r1", "anna", "a", "bought"),
        event("5", "r3", "anna", "b"),
        # Not shown; another's answer; no such answer; none at all.
        event("6", "r3", "anna", "z"),
        event("7", "r2", "anna", "a"),
        event("8", "r9", "anna", "a"),
        event("9", "", "anna", "a"),
    ]
    sample = sample_of(tmp_path, answers, events)
    assert sample.people.tolist() == [0, 1, 0]
    assert sample.action_names() == ["bought", "clicked"]
    assert sample.counts("clicked").tolist() == [2, 0, 1]
    assert sample.counts("bought").tolist() == [1, 0, 0]
    assert sample.unmatched_count == 3


def test_answers_of_nobody_in_particular_are_a_person_each(tmp_path: Path) -> None:
    sample = sample_of(
        tmp_path, [answer("r1", ""), answer("r2", "anna"), answer("r3", "")], [event("1", "r3", "", "a")]
    )
    assert (sample.people.tolist(), sample.people_count, sample.unnamed_count) == ([0, 1, 2], 3, 2)
    assert sample.counts("clicked").tolist() == [0, 0, 1]


def test_an_answer_that_is_logged_twice_counts_once(tmp_path: Path) -> None:
    sample = sample_of(tmp_path, [answer("r1", "anna"), answer("r1", "anna")], [event("1", "r1", "anna", "a")])
    assert len(sample.people) == 1
    assert sample.counts("clicked").tolist() == [1]


def test_arms_are_told_by_experiment(tmp_path: Path) -> None:
    answers = [
        answer("r1", "anna", {"x": "new", "y": "b"}),
        answer("r2", "ben", {"x": "control"}),
        answer("r3", "anna", {"x": "control"}),
        answer("r4", "carl"),
    ]
    sample = sample_of(tmp_path, answers, [])
    assert sample.arms["x"].tolist() == ["new", "control", "control", ""]
    assert sample.arms["y"].tolist() == ["b", "", "", ""]
    assert arm_names(sample, "x") == ["control", "new"]
    assert people_in_several_arms(sample, "x") == 1
    assert unit_counts(sample, "x", "user_id") == {"control": 2, "new": 1}
    assert unit_counts(sample, "x", "request") == {"control": 2, "new": 1}


def test_the_rivals_and_their_teams_are_told(tmp_path: Path) -> None:
    rivals = json.dumps([{"arm": "old"}, {"arm": "new"}])
    answers = [answer("r1", "anna", {"duel": "interleaved"}, rivals=rivals, teams=["new", "old", "new"])]
    sample = sample_of(tmp_path, answers, [event("1", "r1", "anna", "b"), event("2", "r1", "anna", "c")])
    assert sample.rivals == {"duel": ("old", "new")}
    assert sample.hits.teams.tolist() == ["old", "new"]
    assert sample.hits.positions.tolist() == [1, 2]


def test_chance_brought_what_stands_behind_the_answer_in_the_ranking(tmp_path: Path) -> None:
    explored = answer("r1", "anna", exploration_epsilon=0.2, propensities=[1.0, 0.8, 0.05], ranking_positions=[1, 2, 9])
    remembered = explored | {"request_id": "r2", "ranking_positions": [0, 0, 0]}
    sample = sample_of(tmp_path, [answer("r0", "ben"), explored, remembered], [])
    assert sample.explored.answers.tolist() == [1, 1, 1]
    assert sample.explored.explored.tolist() == [False, False, True]
    assert sample.explored.propensities.tolist() == [1.0, 0.8, 0.05]
    assert sample.explored.epsilons.tolist() == [0.2] * 3


def test_an_empty_log_says_nothing(tmp_path: Path) -> None:
    sample = sample_of(tmp_path, [], [])
    assert (len(sample.people), sample.action_names(), dict(sample.arms)) == (0, [], {})
