from __future__ import annotations

import pytest

from training.config import RankerTraining
from training.ranker.families.registry import FAMILIES
from training.ranker.schedules import Schedule, schedule_of


def test_a_schedule_multiplies_the_profiles() -> None:
    config = RankerTraining(learning_rate=2e-4, max_epoch_count=2, least_step_count=250, batch_size=64)
    schedule = Schedule(learning_rate_factor=5, step_factor=3, round_step_count=25, small_data_factor=2)
    applied = schedule.apply(config, 25)
    assert applied.learning_rate == pytest.approx(1e-3)
    assert (applied.max_epoch_count, applied.least_step_count, applied.batch_size) == (6, 750, 64)
    assert schedule.apply(config, 24).learning_rate == pytest.approx(4e-4)


def test_an_epoch_of_few_steps_passes_over_the_people_again() -> None:
    assert [Schedule(round_step_count=25).passes(steps) for steps in (1, 3, 25, 200)] == [25, 9, 1, 1]


def test_the_content_ranker_follows_the_profile_where_data_suffice_and_others_take_larger_steps() -> None:
    config = RankerTraining()
    assert schedule_of("content").apply(config, 100) == config
    for name in FAMILIES[1:]:
        assert schedule_of(name).apply(config, 100).learning_rate > config.learning_rate
