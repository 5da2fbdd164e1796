from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.engine.exploration import explore
from gateway.engine.plan import Exploration
from tests.unit.training.experiments.logs import answer, event, write_log
from training.experiments.logged_policy import estimate_exploration
from training.experiments.sample import Sample, read_sample
from twostage.impressions.log import open_log

ANSWERS, COUNT = 3_000, 5
# The best item is liked most; one that was clicked above halves the liking of what follows, as people leave.
LIKING = np.array([0.3, 0.25, 0.2, 0.2, 0.15, *[0.05] * 10])


def clicks(shown: list[int], draws: np.ndarray) -> list[int]:
    patience, clicked = 1.0, []
    for place, item in enumerate(shown):
        if draws[place] < LIKING[item] * patience:
            clicked.append(place)
            patience /= 2
    return clicked


def expected_rate(shown: list[int]) -> float:
    """The exact mean of clicks per item, by going through the states of patience."""
    states = {1.0: 1.0}
    total = 0.0
    for item in shown:
        following: dict[float, float] = {}
        for patience, chance in states.items():
            clicked = chance * LIKING[item] * patience
            total += clicked
            following[patience / 2] = following.get(patience / 2, 0.0) + clicked
            following[patience] = following.get(patience, 0.0) + chance - clicked
        states = following
    return total / len(shown)


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    rng = np.random.default_rng(9)
    policy = Exploration(epsilon=0.3, share=0.6, pool_count=8)
    answers, events = [], []
    for number in range(ANSWERS):
        shown = explore(range(15), COUNT, policy, f"request-{number}")
        items = [each.item for each in shown]
        person, request_id = f"person {number // 3}", f"request-{number}"
        answers.append(
            answer(
                request_id,
                person,
                item_ids=[str(item) for item in items],
                exploration_epsilon=policy.epsilon,
                propensities=[each.propensity for each in shown],
                ranking_positions=[item + 1 for item in items],
            )
        )
        events += [
            event(f"{number}-{place}", request_id, person, str(items[place]))
            for place in clicks(items, rng.random(COUNT))
        ]
    return read_sample(open_log(write_log(tmp_path_factory.mktemp("log") / "log", answers, events)))


def test_the_answer_without_exploration_is_estimated_from_explored_ones(explored: Sample) -> None:
    truth = expected_rate(list(range(COUNT)))
    logged, *estimates = estimate_exploration(explored, "clicked")
    assert [each.estimator for each in estimates] == ["IPS", "SNIPS", "DR"]
    for each in estimates:
        assert each.value == pytest.approx(truth, abs=3 * each.standard_error)
        assert each.standard_error < 0.01
        assert each.effective_count < logged.observation_count == ANSWERS * COUNT
    # What was logged is worse, and told as such.
    assert logged.value < truth - 3 * logged.standard_error
    assert estimates[2].standard_error <= estimates[0].standard_error


def test_the_logged_epsilon_gives_the_logged_rate(explored: Sample) -> None:
    logged, *estimates = estimate_exploration(explored, "clicked", 0.3)
    for each in estimates:
        assert each.value == pytest.approx(logged.value, abs=3e-4)
    assert estimates[0].effective_count == logged.effective_count


def test_more_exploration_is_estimated_too(explored: Sample) -> None:
    rng = np.random.default_rng(10)
    policy = Exploration(epsilon=0.5, share=0.6, pool_count=8)
    truth = np.mean(
        [
            expected_rate([each.item for each in explore(range(15), COUNT, policy, str(rng.random()))])
            for _ in range(3000)
        ]
    )
    for each in estimate_exploration(explored, "clicked", 0.5)[1:]:
        assert each.value == pytest.approx(truth, abs=3.5 * each.standard_error)


def test_answers_can_be_chosen_and_none_give_no_estimate(explored: Sample) -> None:
    nobody = np.zeros(ANSWERS, np.bool_)
    assert estimate_exploration(explored, "clicked", chosen=nobody) == []
    half = estimate_exploration(explored, "clicked", chosen=np.arange(ANSWERS) % 2 == 0)
    assert half[0].observation_count == ANSWERS * COUNT // 2
    clipped = estimate_exploration(explored, "clicked", clip=1.5)
    assert clipped[1].clipped_count > 0


def test_an_action_nobody_did_is_estimated_as_nothing(explored: Sample) -> None:
    assert [each.value for each in estimate_exploration(explored, "bought")] == [0.0] * 4


def test_answers_that_are_all_chance_say_nothing_of_the_best_items(tmp_path: Path) -> None:
    """Where the pool has one item left, epsilon 1 shows it for certain, and yet it is no greedy one."""
    policy = Exploration(epsilon=1.0, share=0.5, pool_count=1)
    answers, events = [], []
    for number in range(40):
        shown = explore(range(3), 2, policy, f"r{number}")
        assert [(each.item, each.propensity) for each in shown] == [(0, 1.0), (2, 1.0)]
        answers.append(explored_answer(f"r{number}", [0, 2], [1.0, 1.0], epsilon=1.0, asked_count=2))
        events.append(event(str(number), f"r{number}", "anna", "2"))
    sample = read_sample(open_log(write_log(tmp_path / "log", answers, events)))
    assert sample.explored.explored.tolist() == [False, True] * 40
    assert estimate_exploration(sample, "clicked") == []
    assert [each.value for each in estimate_exploration(sample, "clicked", 1.0)] == pytest.approx([0.5] * 4)


def test_nothing_is_estimated_where_nothing_was_shown_that_the_policy_would_show(tmp_path: Path) -> None:
    answers = [explored_answer("r1", [3, 0], [0.1, 0.9], epsilon=0.1, asked_count=2)]
    sample = read_sample(open_log(write_log(tmp_path / "log", answers, [event("1", "r1", "anna", "0")])))
    assert estimate_exploration(sample, "clicked") == []


def explored_answer(
    request_id: str, items: list[int], propensities: list[float], *, epsilon: float, asked_count: int
) -> dict[str, object]:
    return answer(
        request_id,
        "anna",
        item_ids=[str(item) for item in items],
        asked_count=asked_count,
        exploration_epsilon=epsilon,
        propensities=propensities,
        ranking_positions=[item + 1 for item in items],
    )
