"""How long and how fast each family is trained, relative to the profile."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from training.config import RankerTraining


@dataclass(frozen=True)
class Schedule:
    """A family's share of a profile's schedule.

    Args:
        learning_rate_factor: Times the profile's learning rate.
        step_factor: Times the profile's epochs, and the steps that may be made in any case.
        round_step_count: An epoch passes over the people as often as it takes to make this many steps, so that
            on small data it is long enough to be told from chance.
        small_data_factor: Times the profile's learning rate where that takes more than one pass.
    """

    learning_rate_factor: float = 1.0
    step_factor: int = 1
    round_step_count: int = 25
    small_data_factor: float = 1.0

    def apply(self, config: RankerTraining, steps_per_pass: int) -> RankerTraining:
        """The profile's schedule as this family follows it on data of so many steps."""
        factor = self.small_data_factor if self.passes(steps_per_pass) > 1 else self.learning_rate_factor
        return replace(
            config,
            learning_rate=config.learning_rate * factor,
            max_epoch_count=config.max_epoch_count * self.step_factor,
            least_step_count=config.least_step_count * self.step_factor,
        )

    def passes(self, steps_per_pass: int) -> int:
        """How often an epoch passes over the people."""
        return max(math.ceil(self.round_step_count / steps_per_pass), 1)


# On MovieLens latest small, where a pass takes 3 steps, the profile's own rate left the first guess as it was.
_FROM_FIRST_GUESS = Schedule(small_data_factor=5.0)
_FROM_SCRATCH = Schedule(learning_rate_factor=5.0, step_factor=2, small_data_factor=5.0)
_SCHEDULES = {"content": _FROM_FIRST_GUESS}


def schedule_of(family: str) -> Schedule:
    """The schedule of a family; one that starts from random weights takes larger steps and more of them."""
    return _SCHEDULES.get(family, _FROM_SCRATCH)
