"""How much effort a training run takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from training.config import RankerTraining, TowerTraining, TrainingConfig


@dataclass(frozen=True)
class Profile:
    """A named training configuration.

    Args:
        name: Its name, as it stands in the manifest.
        config: Sizes and schedules.
    """

    name: str
    config: TrainingConfig

    def with_ranker_training(self, **changes: Any) -> Profile:
        """The same profile with some fields of RankerTraining changed."""
        training = replace(self.config.ranker_training, **changes)
        return replace(self, config=replace(self.config, ranker_training=training))


QUICK = Profile(
    "quick",
    TrainingConfig(
        tower_training=TowerTraining(
            max_epoch_count=5,
            steps_per_epoch=40,
            learning_rate=5e-5,
            patience=3,
            warm_start_epoch_count=12,
            validation_user_count=1500,
        ),
        ranker_training=RankerTraining(max_epoch_count=2, user_count=30_000, learning_rate=2e-4),
    ),
)
"""Minutes on two cores: for a first look and for `make demo`."""

FULL = Profile("full", TrainingConfig())
"""Under forty minutes on two cores for ten thousand items."""

PROFILES = {profile.name: profile for profile in (QUICK, FULL)}


def tiny_profile() -> Profile:
    """A profile for data sets of some hundred items, as tests make them: seconds."""
    return Profile(
        "tiny",
        replace(
            QUICK.config,
            tower_training=replace(
                QUICK.config.tower_training,
                max_epoch_count=1,
                steps_per_epoch=5,
                item_count=64,
                pair_count=64,
                warm_start_epoch_count=3,
                warm_start_batch_size=64,
            ),
            ranker_training=replace(
                QUICK.config.ranker_training,
                max_epoch_count=1,
                least_step_count=0,
                batch_size=32,
                negative_count=20,
                candidate_count=50,
                user_count=400,
            ),
        ),
    )
