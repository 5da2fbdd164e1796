from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import xxhash
from scipy.stats import chi2, chisquare

from twostage.experiments.assignment import Assigned, Assignment, bucket_of
from twostage.experiments.experiment import ArmEntry, Condition, Experiment

PEOPLE = [f"user-{number}" for number in range(40_000)]


def experiment(name: str = "e", weights: tuple[float, ...] = (1, 1), **fields: object) -> Experiment:
    arms = tuple(ArmEntry(name="abcdefgh"[place], weight=weight) for place, weight in enumerate(weights))
    return Experiment.model_validate({"name": name, "arms": arms, **fields})


def arms_of(assignment: Assignment, people: list[str] = PEOPLE) -> list[int]:
    """Each person's arm in the first experiment, -1 for none."""
    found = []
    for person in people:
        arms = [arm for index, arm in assignment.assign(person, "r") if index == 0]
        found.append(arms[0] if arms else -1)
    return found


def test_buckets_are_uniform() -> None:
    buckets = np.array([bucket_of("default", person) for person in PEOPLE])
    assert buckets.min() >= 0
    assert buckets.max() < 1_000_000
    assert chisquare(np.bincount(buckets // 10_000, minlength=100)).pvalue > 0.001


def test_arms_are_drawn_as_documented() -> None:
    entry = experiment(weights=(1, 3, 0.5), salt="sel")
    for person in PEOPLE[:300]:
        draws = []
        for arm in entry.arms:
            digest = xxhash.xxh3_64_intdigest(b"arm\x1fsel\x1f" + arm.name.encode() + b"\x1f" + person.encode())
            draws.append(-math.log((digest + 0.5) / 2**64) / arm.weight)
        assert Assignment([entry]).assign(person, "r") == (Assigned(0, int(np.argmin(draws))),)


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (1, 2, 3, 4), (0.9, 0.05, 0.05)])
def test_arms_get_people_by_their_weights(weights: tuple[float, ...]) -> None:
    counts = Counter(arms_of(Assignment([experiment(weights=weights)])))
    expected = np.array(weights) / sum(weights) * len(PEOPLE)
    assert chisquare([counts[arm] for arm in range(len(weights))], expected).pvalue > 0.001


def test_a_share_of_the_traffic_is_a_share_of_the_people() -> None:
    inside = sum(arm >= 0 for arm in arms_of(Assignment([experiment(traffic=0.25)])))
    assert inside == pytest.approx(10_000, abs=4 * math.sqrt(40_000 * 0.25 * 0.75))


def test_a_person_is_in_one_experiment_of_a_layer_at_most() -> None:
    assignment = Assignment([experiment(f"e{number}", traffic=0.3) for number in range(3)])
    counts = Counter(tuple(index for index, _ in assignment.assign(person, "r")) for person in PEOPLE)
    assert set(counts) == {(), (0,), (1,), (2,)}
    assert counts[()] == pytest.approx(4_000, abs=4 * 60)


def independent(first: list[int], second: list[int]) -> float:
    """The p-value of the chi-square test of independence of two assignments."""
    table = np.zeros((max(first) + 1, max(second) + 1))
    for one, other in zip(first, second, strict=True):
        if one >= 0 and other >= 0:
            table[one, other] += 1
    means = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(((table - means) ** 2 / means).sum())
    return float(chi2.sf(statistic, (table.shape[0] - 1) * (table.shape[1] - 1)))


def test_layers_are_independent_of_each_other() -> None:
    """Both the share of the traffic and the arms."""
    assignment = Assignment([experiment("one", layer="x", traffic=0.5), experiment("two", layer="y", traffic=0.5)])
    arms: list[list[int]] = [[], []]
    for person in PEOPLE:
        found = dict(assignment.assign(person, "r"))
        for index in (0, 1):
            arms[index].append(found.get(index, 2))
    assert independent(*arms) > 0.001


def test_another_salt_draws_anew() -> None:
    one, other = (arms_of(Assignment([experiment(salt=salt)])) for salt in ("spring", "autumn"))
    assert independent(one, other) > 0.001
    assert one == arms_of(Assignment([experiment("another-name", salt="spring")]))


def test_the_bucket_says_nothing_about_the_arm() -> None:
    buckets = [bucket_of("default", person) // 250_000 for person in PEOPLE]
    assert independent(buckets, arms_of(Assignment([experiment()]))) > 0.001


def test_an_arm_that_is_added_takes_people_from_all_and_moves_nobody_else() -> None:
    before = arms_of(Assignment([experiment(weights=(1, 2))]))
    after = arms_of(Assignment([experiment(weights=(1, 2, 1))]))
    moved = Counter(one for one, other in zip(before, after, strict=True) if one != other)
    assert all(other in (one, 2) for one, other in zip(before, after, strict=True))
    # A quarter of each.
    assert moved[0] == pytest.approx(before.count(0) / 4, rel=0.08)
    assert moved[1] == pytest.approx(before.count(1) / 4, rel=0.08)


def test_a_weight_that_grows_only_draws_people_to_its_arm() -> None:
    before = arms_of(Assignment([experiment(weights=(1, 1, 1))]))
    after = arms_of(Assignment([experiment(weights=(1, 1, 3))]))
    assert all(other in (one, 2) for one, other in zip(before, after, strict=True))


def test_an_experiment_that_is_added_at_the_end_moves_nobody() -> None:
    before = arms_of(Assignment([experiment(traffic=0.3)]), PEOPLE[:5000])
    after = arms_of(Assignment([experiment(traffic=0.3), experiment("late", traffic=0.7)]), PEOPLE[:5000])
    assert before == after


def test_one_that_is_off_keeps_its_buckets_and_answers_nobody() -> None:
    both = [experiment("first", traffic=0.5), experiment("second", traffic=0.5)]
    off = [experiment("first", traffic=0.5, enabled=False), both[1]]
    for person in PEOPLE[:500]:
        was, now = Assignment(both).assign(person, "r"), Assignment(off).assign(person, "r")
        assert now == (() if was[0].experiment_index == 0 else was)


@pytest.mark.parametrize(
    ("where", "context", "holds"),
    [
        ({"surface": ["home", "list"]}, ("list", "", ""), True),
        ({"surface": ["home"]}, ("", "", ""), False),
        ({"surface": ["home"], "device": ["phone"]}, ("home", "tablet", ""), False),
        ({"surface": ["home"], "device": ["phone"]}, ("home", "phone", ""), True),
        ({"locale": ["de"]}, ("", "", "de-AT"), True),
        ({"locale": ["de-at"]}, ("", "", "de-AT"), True),
        ({"locale": ["de"]}, ("", "", "den"), False),
        ({"locale": ["de-AT"]}, ("", "", "de"), False),
    ],
)
def test_conditions_are_about_the_context(
    where: dict[str, list[str]], context: tuple[str, str, str], holds: bool
) -> None:
    assignment = Assignment([experiment(where=Condition.model_validate(where))])
    assert bool(assignment.assign("anna", "r", *context)) is holds


@pytest.mark.parametrize("person", ["", "\x1f", "ä" * 200, "\ud800"])
def test_any_id_is_assigned_and_nobody_is_not(person: str) -> None:
    assert len(Assignment([experiment()]).assign(person, "r")) == bool(person)
